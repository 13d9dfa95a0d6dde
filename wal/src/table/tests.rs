use std::path::Path;

use perennial_failpoints::fs::OpenMode;
use perennial_failpoints::{Fs, SimFs};

use super::*;
use crate::frame::FrameKind;
use crate::lsn::{Addr, Lsn, SegmentId, to_u32};
use crate::segment::Join;

const SEGMENT: u64 = 8 << 10;

/// Two lives: the trailers below are of the second.
fn header() -> SegmentHeader {
    let join = |begin, incarnation| Join {
        begin,
        end: 0,
        incarnation,
        void_through: 0,
    };
    SegmentHeader {
        cache_id: 5,
        number: SegmentId(1),
        kept: None,
        predecessor: SegmentId(1),
        oldest: SegmentId(1),
        stable: Lsn(0),
        checkpoint: Lsn(0),
        segment_bytes: to_u32(to_usize(SEGMENT)),
        sector: 512,
        joins: vec![join(1024, 76), join(2048, 77)],
    }
}

fn trailer(rows: u64) -> Trailer {
    let row = |n: u64| Row {
        hash: n,
        target: Addr::log(Lsn(n * 16)),
        bytes: 48,
        kind: FrameKind::Put,
        flags: 0,
        key_bytes: 3,
    };
    Trailer {
        cache_id: 5,
        number: SegmentId(1),
        incarnation: 77,
        data_end: 1024,
        stable: Lsn(0),
        rows: (0..rows).map(row).collect(),
    }
}

fn read_back(trailer: &Trailer, segment_bytes: u64) -> Option<Trailer> {
    let encoded = trailer.encode(segment_bytes, 16);
    let mut bytes = vec![0xa5; to_usize(segment_bytes)];
    let at = bytes.len() - encoded.len();
    bytes[at..].copy_from_slice(&encoded);
    let machine = SimFs::new(1);
    machine.write_file(Path::new("/log/trailer"), &bytes);
    let dir = machine.open_dir(Path::new("/log")).unwrap();
    let file = dir.open("trailer", OpenMode::Read).unwrap();
    let geometry = Geometry {
        segment_bytes,
        sector: 512,
    };
    let direct = dir.open("trailer", OpenMode::Direct).unwrap();
    let read = |direct| {
        let table = TableFile {
            file: &*file,
            direct,
        };
        let mut buffer = TableBuffer::default();
        table.trailer(&header(), geometry, &mut buffer).unwrap()
    };
    let found = read(None);
    assert_eq!(read(Some(&*direct)), found);
    found
}

#[test]
fn a_trailer_is_read_piece_by_piece() {
    // A piece has 43,690 rows and two thirds; what is read first has 2,728.
    for rows in [0, 1, 2_727, 2_728, 2_729, 43_600, 43_700, 100_000]
        .into_iter()
        .step_by(crate::STEP)
    {
        let trailer = trailer(rows);
        assert_eq!(read_back(&trailer, 4 << 20), Some(trailer), "{rows}");
    }
    // It fills its segment to the last byte.
    let full = trailer(10);
    assert_eq!(read_back(&full, FIXED_BYTES + 10 * ROW_BYTES), Some(full));
}

#[test]
fn a_trailer_of_another_cache_segment_or_life_does_not_count() {
    let others = [
        Trailer {
            cache_id: 6,
            ..trailer(3)
        },
        Trailer {
            number: SegmentId(2),
            ..trailer(3)
        },
        Trailer {
            incarnation: 78,
            ..trailer(3)
        },
    ];
    for other in others {
        assert_eq!(read_back(&other, SEGMENT), None, "{other:?}");
    }
    // Another life has gone on behind it.
    let first = Trailer {
        incarnation: 76,
        ..trailer(3)
    };
    assert_eq!(read_back(&first, SEGMENT), None);
}

#[test]
fn a_trailer_that_claims_more_rows_than_fit_is_none() {
    let machine = SimFs::new(1);
    let whole = (8 << 10) + trailer(3).encode(SEGMENT, 16).len() as u64;
    let one_too_many = to_u32(to_usize((whole - FIXED_BYTES) / ROW_BYTES)) + 1;
    for rows in [one_too_many, 1_000, u32::MAX] {
        let mut bytes = trailer(3).encode(SEGMENT, 16);
        let at = bytes.len() - to_usize(FIXED_BYTES) + 12;
        bytes[at..at + 4].copy_from_slice(&rows.to_le_bytes());
        machine.write_file(
            Path::new("/log/trailer"),
            &[&[0; 8 << 10], &bytes[..]].concat(),
        );
        let dir = machine.open_dir(Path::new("/log")).unwrap();
        let file = dir.open("trailer", OpenMode::Read).unwrap();
        let geometry = Geometry {
            segment_bytes: (8 << 10) + bytes.len() as u64,
            sector: 512,
        };
        let table = TableFile {
            file: &*file,
            direct: None,
        };
        let read = table.trailer(&header(), geometry, &mut TableBuffer::default());
        assert_eq!(read.unwrap(), None);
    }
}
