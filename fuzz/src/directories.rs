//! Cache directories to damage, each with what it may answer and where its structures lie.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use perennial::{Cache, Options};
use perennial_failpoints::SimFs;
use perennial_failpoints::lab::{Crash, Keeps, Oracle, key, value};
use perennial_wal::frame::{FrameHeader, Seed};
use perennial_wal::segment::{FIXED_BYTES, HeaderFound, ROW_BYTES, SegmentHeader, Trailer};
use perennial_wal::{Item, SegmentBytes, to_usize};

use super::driver::small;

const DIR: &str = "/cache";
const TAIL_HEAD: usize = 4096;

/// A machine with a cache that nobody has open.
pub(crate) struct Directory {
    pub(crate) machine: SimFs,
    pub(crate) oracle: Oracle,
    pub(crate) crash: Crash,
    /// Closed in order: it bears more faults than one that was killed.
    pub(crate) closed: bool,
    /// Its files but for the lock, by name.
    pub(crate) files: Vec<(String, Vec<u8>)>,
    pub(crate) structures: Vec<Structure>,
}

/// Something under a crc.
#[derive(Debug, Clone)]
pub(crate) struct Structure {
    /// Index of its file.
    pub(crate) file: usize,
    pub(crate) at: Range<usize>,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Frame { seed: Seed, offset: u64 },
    HeaderCopy,
    Trailer,
    IdentityCopy,
    TailIdentity,
    StableWord,
}

pub(crate) fn options() -> Options {
    small(64 << 10)
}

pub(crate) fn path(name: &str) -> PathBuf {
    Path::new(DIR).join(name)
}

pub(crate) fn open(machine: &SimFs) -> perennial::Result<Cache> {
    Cache::open_with(Arc::new(machine.clone()), DIR, options())
}

pub(crate) fn check(machine: &SimFs) {
    let fs = Arc::new(machine.clone());
    if let Ok(report) = perennial::verify_with(fs.clone(), DIR) {
        let _ = report.to_string();
    }
    let _ = perennial::inspect_with(fs, DIR);
}

/// All of them; made once.
pub(crate) static ALL: LazyLock<Vec<Directory>> = LazyLock::new(|| {
    let mut all = Vec::new();
    for ops in [30, 250] {
        let (machine, oracle) = live(ops, true);
        all.push(Directory::new(machine, oracle, Crash::Kill, true));
        let (machine, oracle) = live(ops, false);
        all.push(Directory::new(machine, oracle, Crash::Kill, false));
    }
    let (machine, oracle) = live(40, true);
    machine.mark_all_durable();
    all.push(Directory::new(
        machine.power_loss(7),
        oracle,
        Crash::Kill,
        true,
    ));
    let (machine, oracle) = live(40, false);
    let lost = machine.power_loss_keeping(u64::MAX);
    all.push(Directory::new(lost, oracle, Crash::Power, false));
    all
});

/// Two lives of `ops` operations each, the second of which is closed or killed.
fn live(ops: u64, close: bool) -> (SimFs, Oracle) {
    let (machine, mut oracle) = (SimFs::new(ops), Oracle::new(Keeps::WhatItLikes));
    let cache = open(&machine).expect("open");
    operate(&cache, &mut oracle, 0..ops);
    cache.close().expect("close");
    let cache = open(&machine).expect("open again");
    operate(&cache, &mut oracle, ops..2 * ops);
    // Before the destructor, which a killed process does not run.
    let killed = machine.process_crash();
    cache.close().expect("close again");
    (if close { machine } else { killed }, oracle)
}

fn operate(cache: &Cache, oracle: &mut Oracle, ops: Range<u64>) {
    for op in ops {
        let key = key(u8::try_from(op * 7 % 12).expect("few keys"));
        match op % 11 {
            3 => {
                cache.remove(&key).expect("remove");
                oracle.returned(&key, None, false);
            }
            7 => {
                cache.remove_durable(&key).expect("remove");
                oracle.returned(&key, None, true);
            }
            n => {
                let len = if n == 5 { 1_200 } else { op * 53 % 300 };
                let value = value(&key, op, to_usize(len));
                cache.insert(&key, &value).expect("insert");
                oracle.returned(&key, Some(op), false);
            }
        }
        if op % 17 == 16 {
            cache.flush().expect("flush");
            oracle.all_durable();
        }
    }
}

impl Directory {
    fn new(machine: SimFs, oracle: Oracle, crash: Crash, closed: bool) -> Self {
        let names = machine.file_names(Path::new(DIR));
        let files = names.into_iter().filter(|name| name != "LOCK");
        let files: Vec<_> = files
            .map(|name| {
                let content = machine.read_file(&path(&name)).expect("it is there");
                (name, content)
            })
            .collect();
        let structures = structures(&files);
        Self {
            machine,
            oracle,
            crash,
            closed,
            files,
            structures,
        }
    }
}

fn structures(files: &[(String, Vec<u8>)]) -> Vec<Structure> {
    let mut found = Vec::new();
    let mut headers = Vec::new();
    for (file, (name, content)) in files.iter().enumerate() {
        let mut add = |at: Range<usize>, kind| found.push(Structure { file, at, kind });
        if name.starts_with("seg-") {
            add(0..512, Kind::HeaderCopy);
            add(512..1024, Kind::HeaderCopy);
            let rows = Trailer::decode(content).map_or(0, |trailer| trailer.rows.len() as u64);
            let trailer_bytes = to_usize(rows * ROW_BYTES + FIXED_BYTES);
            add(content.len() - trailer_bytes..content.len(), Kind::Trailer);
            if let HeaderFound::Good(header) = SegmentHeader::decode(&content[..1024]) {
                frames(&header, content, add);
                headers.push(header);
            }
        } else if name == "identity" {
            let half = content.len() / 2;
            add(0..half, Kind::IdentityCopy);
            add(half..content.len(), Kind::IdentityCopy);
        } else if name.starts_with("tail-") {
            for at in [0, 2560] {
                add(at..at + 96, Kind::TailIdentity);
            }
            for at in [256, 2816] {
                add(at..at + 16, Kind::StableWord);
            }
        }
    }
    let tails = files.iter().enumerate();
    for (file, (_, content)) in tails.filter(|(_, (name, _))| name.starts_with("tail-")) {
        for header in &headers {
            frames_in_ring(header, content, |at, kind| {
                found.push(Structure { file, at, kind });
            });
        }
    }
    found
}

fn frames(header: &SegmentHeader, content: &[u8], mut add: impl FnMut(Range<usize>, Kind)) {
    let segment = SegmentBytes {
        header,
        file: content,
        unread: &[],
        ring: &[],
        reserved_to: u64::MAX,
    };
    for item in segment.walk() {
        if let Item::Frame(frame) = item {
            let offset = frame.lsn.offset(u64::from(header.segment_bytes));
            let at = to_usize(offset);
            let seed = header.seed_at(offset);
            let kind = Kind::Frame { seed, offset };
            add(at..at + to_usize(frame.bytes), kind);
        }
    }
}

/// A frame says where in its segment it lies, and that is where it lies in the ring.
fn frames_in_ring(header: &SegmentHeader, tail: &[u8], mut add: impl FnMut(Range<usize>, Kind)) {
    for at in (TAIL_HEAD..tail.len() - 32).step_by(16) {
        let place = u32::from_le_bytes(tail[at + 4..at + 8].try_into().expect("four bytes"));
        let offset = u64::from(place) * 16;
        if offset == 0 || offset >= u64::from(header.segment_bytes) {
            continue;
        }
        let seed = header.seed_at(offset);
        if let Ok(found) = FrameHeader::decode_whole(&tail[at..], seed, offset) {
            let end = at + to_usize(found.frame_bytes(512));
            add(at..end.min(tail.len()), Kind::Frame { seed, offset });
        }
    }
}
