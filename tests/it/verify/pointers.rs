//! What the newest checkpoint points at is there.

use std::path::Path;

use perennial::{Eviction, Tail};
use perennial_failpoints::SimFs;
use perennial_recovery::{decode_part, encode_part};
use perennial_wal::frame::{FrameHeader, FrameKind, Seed};
use perennial_wal::segment::{HeaderFound, SegmentHeader};
use perennial_wal::{Addr, Lsn};

use super::{DIR, assert_clean, open, options, verify};

const ENTRIES: u64 = 6_000;
const SEGMENT: u64 = 32 << 10;

/// Thousands of entries, of which the newest checkpoint knows all.
fn large_cache() -> SimFs {
    let fs = SimFs::new(1);
    // In a ring of 4 KiB there is no room for the head of so many parts.
    let options = options(8 << 20)
        .segment_bytes(SEGMENT)
        .tail_bytes(64 << 10)
        .eviction(Eviction::Fifo);
    let cache = open(&fs, options.tail(Tail::Heap));
    for n in 0..ENTRIES {
        let len = if n % 100 == 0 {
            20_000
        } else {
            usize::try_from(n % 80).unwrap()
        };
        cache.insert(n.to_le_bytes(), vec![7; len]).unwrap();
    }
    cache.close().unwrap();
    fs
}

#[test]
fn a_sound_cache_of_thousands_of_entries_has_no_problem() {
    let report = assert_clean(&large_cache(), "closed");
    assert_eq!(report.live_entries, ENTRIES);
    assert!(
        report.checkpoints > 0 && report.extents == ENTRIES / 100,
        "{report}"
    );
}

#[test]
fn an_entry_that_points_at_nothing_is_found() {
    let fs = large_cache();
    let inside = |identity, at: u64| (identity, at + 16);
    let problems = |forge: Forge| {
        let path = forge_newest_part(&fs, forge);
        let (path, before) = path.expect("a part of a checkpoint");
        let problems = verify(&fs).problems;
        fs.write_file(Path::new(&path), &before);
        problems
    };
    for (what, forge) in [
        ("inside of a frame", inside as Forge),
        ("at a trailer", |identity, at| {
            (identity, at | (SEGMENT - 16))
        }),
        ("at another key's frame", |identity, at| (identity ^ 1, at)),
    ] {
        let found = problems(forge);
        assert_eq!(found.len(), 1, "{what}: {found:?}");
        let said = "entries of the newest checkpoint that point at no frame of theirs: 1,";
        assert!(found[0].what.starts_with(said), "{what}: {found:?}");
    }
    assert!(problems(|identity, at| (identity, at)).is_empty());
    assert_clean(&fs, "every part put back");
}

/// Makes another entry of an entry's identity and position.
type Forge = fn(u64, u64) -> (u64, u64);

/// A part of a checkpoint in a segment's file.
struct PlacedPart {
    path: String,
    content: Vec<u8>,
    at: usize,
    seed: Seed,
    frame: FrameHeader,
}

/// Writes the newest part anew with another first entry, which proves itself as before. Its file, and what was in it.
fn forge_newest_part(fs: &SimFs, forge: Forge) -> Option<(String, Vec<u8>)> {
    let names = fs.file_names(Path::new(DIR)).into_iter();
    let newest = names.filter_map(|name| last_part_in(fs, &name));
    let (_, part) = newest.max_by_key(|(lsn, _)| *lsn)?;
    let found = decode_part(part.frame.value(&part.content[part.at..])).ok()?;
    let mut entries: Vec<_> = found.entries().collect();
    let (identity, place) = forge(entries[0].identity, entries[0].addr.position().0);
    (entries[0].identity, entries[0].addr) = (identity, Addr::log(Lsn(place)));
    let body = encode_part(found.shard(), &entries);
    let header = FrameHeader {
        body_crc: crc32fast::hash(&body),
        ..part.frame
    };
    let frame = [&header.encode(part.seed, part.at as u64)[..], &body].concat();
    let mut content = part.content.clone();
    content[part.at..part.at + frame.len()].copy_from_slice(&frame);
    fs.write_file(Path::new(&part.path), &content);
    Some((part.path, part.content))
}

fn last_part_in(fs: &SimFs, name: &str) -> Option<(Lsn, PlacedPart)> {
    let path = format!("{DIR}/{name}");
    let content = fs.read_file(Path::new(&path))?;
    let HeaderFound::Good(header) = SegmentHeader::decode(content.get(..1024)?) else {
        return None;
    };
    let part_at = |at: usize| {
        let seed = header.seed_at(at as u64);
        let frame = FrameHeader::decode_whole(&content[at..], seed, at as u64).ok()?;
        (frame.kind == FrameKind::Part).then_some((at, seed, frame))
    };
    let places = (1024..content.len()).step_by(16);
    let (at, seed, frame) = places.filter_map(part_at).next_back()?;
    let lsn = Lsn::new(header.number, at as u64, content.len() as u64);
    let part = PlacedPart {
        path,
        content,
        at,
        seed,
        frame,
    };
    Some((lsn, part))
}
