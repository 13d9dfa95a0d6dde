//! Holes of entries that are copied when their segment is reclaimed.

use std::path::Path;
use std::sync::Arc;

use perennial::Eviction;
use perennial_failpoints::lab::{Driver, Keeps, Step, Store, key, value};
use perennial_failpoints::{Fs, OpenMode, SimFs};
use perennial_wal::frame::{FrameHeader, FrameKind, HEADER_BYTES};
use perennial_wal::segment::{HeaderFound, SegmentHeader};
use perennial_wal::to_usize;

use super::crashed;
use crate::driver::{Perennial, Undamaged, small};

/// Two keys are stored once and read all the time, three are stored over and over: what is live is copied when its segment
/// is reclaimed, and none is evicted. So all must be there after every crash, as if nothing were ever reclaimed: where it
/// was, until the log says durably where it is.
#[test]
pub(crate) fn hole_02_what_is_copied_is_in_one_place_or_the_other() -> Result<(), String> {
    stays("hole 2", Eviction::S3Merge, 60)
}

/// The same for copies that go to the head of the log.
#[test]
pub(crate) fn hole_02_what_is_appended_again_is_in_one_place_or_the_other() -> Result<(), String> {
    stays("hole 2, in the log", Eviction::Clock, 60)
}

/// Copies of copies, and checkpoints between them: the source of each is long written over.
#[test]
pub(crate) fn hole_03_copies_of_copies_are_found() -> Result<(), String> {
    stays("hole 3", Eviction::S3Merge, 160)
}

fn stays(name: &str, eviction: Eviction, puts: u32) -> Result<(), String> {
    let mut script = vec![Step::put(0, 300).durable(), Step::put(1, 2_000).durable()];
    for n in 0..puts {
        let key = u8::try_from(2 + n * 7 % 3).map_err(|e| e.to_string())?;
        let len = u16::try_from(400 + n * 211 % 600).map_err(|e| e.to_string())?;
        let put = Step::put(key, len);
        script.push(if n % 8 == 0 { put.durable() } else { put });
        script.extend((0..5).map(|key| Step::Get { key }));
    }
    let driver = Undamaged(Perennial(small(96 << 10).eviction(eviction)));
    crashed(name, &driver, Keeps::Everything, &script)
}

/// What lies where an entry should be proves itself and has no value, or is no entry: a misdirected write of an earlier life's
/// repair, say. A reclaim that copied it panicked, or made a value of filler; it is a miss, and counted.
#[test]
pub(crate) fn hole_38_a_frame_without_a_value_is_not_kept() -> Result<(), String> {
    for eviction in [Eviction::S3Merge, Eviction::Clock] {
        for kind in FrameKind::ALL {
            if kind != FrameKind::Put {
                foreign(eviction, kind)
                    .map_err(|why| format!("seed 1, {eviction:?}, {kind:?}: {why}"))?;
            }
        }
    }
    Ok(())
}

/// A frame of this kind in place of an entry that is read, and then its segment is reclaimed.
fn foreign(eviction: Eviction, kind: FrameKind) -> Result<(), String> {
    let machine = SimFs::new(1);
    let options = small(96 << 10).eviction(eviction);
    let store = Perennial(options).open(Arc::new(machine.clone()))?;
    let read = key(0);
    store.put(&read, &value(&read, 1, 300), true)?;
    store.get(&read)?;
    let other = key(1);
    // So that it is in no ring any more, and its segment has a trailer.
    for op in 2..30 {
        store.put(&other, &value(&other, op, 700), true)?;
    }
    if store.get(&read)?.is_none() || !replace(&machine, &value(&read, 1, 300), kind) {
        return Err("it is in no segment".to_owned());
    }
    let before = store.0.stats();
    for op in 30..400 {
        store.put(&other, &value(&other, op, 700), false)?;
    }
    let stats = store.0.stats();
    if store.get(&read)?.is_some() {
        return Err("it has a value".to_owned());
    }
    if stats.damaged_reads == before.damaged_reads {
        return Err(format!("it was not counted: {stats}"));
    }
    Ok(())
}

/// Writes over the header of the frame with this value; all that it says fits, but for its kind.
fn replace(machine: &SimFs, value: &[u8], kind: FrameKind) -> bool {
    let dir = Path::new("/cache");
    let place = machine.file_names(dir).into_iter().find_map(|name| {
        let content = machine.read_file(&dir.join(&name))?;
        let at = content
            .windows(value.len())
            .position(|bytes| bytes == value)?;
        name.starts_with("seg-").then_some((name, content, at))
    });
    let Some((name, content, at)) = place else {
        return false;
    };
    let HeaderFound::Good(segment) = SegmentHeader::decode(&content[..1024]) else {
        return false;
    };
    let at = at - to_usize(HEADER_BYTES) - key(0).len();
    let (seed, offset) = (segment.seed_at(at as u64), at as u64);
    let Ok(header) = FrameHeader::decode(&content[at..], seed, offset) else {
        return false;
    };
    // Filler reaches as far as the next frame, further than an entry's own bytes.
    let header = if kind.has_body() {
        FrameHeader { kind, ..header }
    } else {
        let filler = header.frame_bytes(1) - HEADER_BYTES;
        FrameHeader::filler(kind, 0, header.hash, u32::try_from(filler).unwrap_or(0))
    };
    let written = machine.open_dir(dir).and_then(|dir| {
        dir.open(&name, OpenMode::ReadWrite)?
            .write_at(&header.encode(seed, offset), offset)
    });
    written.is_ok()
}
