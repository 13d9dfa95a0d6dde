use std::path::Path;
use std::sync::Arc;

use perennial_failpoints::{Dir, Fs, SimFs};
use perennial_wal::frame::{FrameHeader, Seed, flags, write_chunk_table};
use perennial_wal::segment::{Join, SegmentHeader, file_name};
use perennial_wal::{Addr, Geometry, SegmentId, read_without_tail, to_u32, to_usize};

use super::super::{Entry, encode_part};
use super::*;

const CACHE: u64 = 5;
const INCARNATION: u64 = 77;
const GEOMETRY: Geometry = Geometry {
    segment_bytes: 256 << 10,
    sector: 512,
};
const AT: Lsn = Lsn(GEOMETRY.segment_bytes + 1024);
const BITS: u8 = 46;

/// A log with one frame in it, at [`AT`].
fn log_with(kind: FrameKind, body: &[u8]) -> Arc<dyn Dir> {
    let chunked = body.len() as u64 > perennial_wal::frame::CHUNK_BYTES;
    let mut frame = FrameHeader {
        kind,
        flags: if chunked { flags::CHUNKED } else { 0 },
        key_bytes: 0,
        value_bytes: to_u32(body.len()),
        hash: 0,
        expiry: 0,
        body_crc: 0,
    };
    let mut table = vec![0; to_usize(frame.table_bytes())];
    write_chunk_table(&mut table, body);
    frame.body_crc = crc32fast::hash(if chunked { &table } else { body });
    let header = SegmentHeader {
        cache_id: CACHE,
        number: SegmentId(1),
        kept: None,
        predecessor: SegmentId(1),
        oldest: SegmentId(1),
        stable: Lsn(0),
        checkpoint: Lsn(0),
        segment_bytes: to_u32(to_usize(GEOMETRY.segment_bytes)),
        sector: to_u32(to_usize(GEOMETRY.sector)),
        joins: vec![Join {
            begin: 1024,
            end: 1024,
            incarnation: INCARNATION,
            void_through: 0,
        }],
    };
    let mut content = header.encode();
    content.extend(frame.encode(Seed::new(CACHE, 1, INCARNATION), 1024));
    content.extend([&table, body].concat());
    content.resize(to_usize(GEOMETRY.segment_bytes), 0);
    let machine = SimFs::new(1);
    machine.write_file(&Path::new("/log").join(file_name(0)), &content);
    machine.open_dir(Path::new("/log")).unwrap()
}

fn part_found(kind: FrameKind, body: &[u8], part: &PartRef) -> Option<Vec<u8>> {
    let dir = log_with(kind, body);
    let contents = read_without_tail(&dir, CACHE, GEOMETRY).unwrap();
    read_part(&contents, part)
}

fn part_of(entries: u32) -> (Vec<u8>, PartRef) {
    let entry = |n: u32| Entry {
        identity: u64::from(n),
        addr: Addr::log(Lsn(u64::from(n) * 16)),
        size_class: 1,
        visited: 0,
        pinned: false,
    };
    let entries: Vec<Entry> = (0..entries).map(entry).collect();
    let body = encode_part(3, &entries);
    let part = PartRef {
        lsn: AT,
        bytes: to_u32(body.len()),
        shard: 3,
        entries: to_u32(entries.len()),
    };
    (body, part)
}

/// With 4,095 entries it is as long as a chunk; longer ones have a table of chunks.
#[test]
fn a_part_is_read_where_its_head_says() {
    for entries in [0, 1, 4_094, 4_095, 4_096, 9_000] {
        let (body, part) = part_of(entries);
        let found = part_found(FrameKind::Part, &body, &part);
        assert!(found == Some(body), "{entries}");
    }
}

#[test]
fn what_is_not_the_part_that_the_head_means_is_none() {
    let (body, part) = part_of(2);
    assert_eq!(part_found(FrameKind::Put, &body, &part), None);
    let wrong = [
        PartRef { shard: 4, ..part },
        PartRef { entries: 3, ..part },
        PartRef {
            bytes: part.bytes + 16,
            ..part
        },
        PartRef {
            bytes: u32::MAX,
            ..part
        },
        PartRef {
            lsn: AT.plus(16),
            ..part
        },
    ];
    // A frame is read with its whole length: what lies behind this one does not harm it.
    let found = wrong.map(|part| part_found(FrameKind::Part, &body, &part));
    assert_eq!(found, [None, None, Some(body), None, None]);
}

fn a_head() -> Head {
    Head {
        generation: 1,
        c: Lsn(0),
        e: AT,
        entries: 0,
        identity_bits: BITS,
        oldest: SegmentId(1),
        time_seen_s: 0,
        parts: Vec::new(),
        policy: Vec::new(),
        shape: Vec::new(),
        hand: 0,
    }
}

#[test]
fn a_head_is_read_if_it_is_one_of_this_index() {
    let body = a_head().encode();
    let bytes = to_u32(32 + body.len());
    let found = |kind, bits| {
        let dir = log_with(kind, &body);
        let contents = read_without_tail(&dir, CACHE, GEOMETRY).unwrap();
        read_head(&contents, AT, bytes, bits)
    };
    assert_eq!(found(FrameKind::Head, BITS), Some(a_head()));
    assert_eq!(found(FrameKind::Head, BITS + 1), None);
    assert_eq!(found(FrameKind::Part, BITS), None);
}

#[test]
fn only_heads_have_rows_of_heads() {
    let row = |kind| Row {
        hash: 0,
        target: Addr::log(AT),
        bytes: 48,
        kind,
        flags: 0,
        key_bytes: 0,
    };
    for kind in FrameKind::ALL {
        let head = (kind == FrameKind::Head).then(|| row(kind));
        assert_eq!(head_row(&Event::Row(row(kind))), head, "{kind:?}");
    }
    assert_eq!(head_row(&Event::ForgetAll), None);
}
