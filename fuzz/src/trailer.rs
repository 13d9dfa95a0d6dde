//! A segment's trailer: it is written as it was read, and no row of it can be calculated with wrongly.
//!
//! Input: whether to forge, the last bytes of a segment.

use perennial_wal::frame::FrameKind;
use perennial_wal::segment::{FIXED_BYTES, ROW_BYTES, Row, Trailer};
use perennial_wal::{Addr, Lsn, SegmentId, align_up, to_usize};

use super::Seed;
use super::forge;
use super::input::Input;

pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let forged = input.u8() & 1 == 1;
    let mut bytes = input.rest().to_vec();
    let claimed = Trailer::claimed_rows(&bytes);
    if forged {
        // The rows that are claimed, as far as there are any.
        let rows = claimed.map_or(0, |rows| u64::from(rows) * ROW_BYTES);
        let from = (bytes.len() as u64).saturating_sub(rows + FIXED_BYTES);
        forge::trailer(&mut bytes[to_usize(from)..]);
    }
    let Some(trailer) = Trailer::decode(&bytes) else {
        return;
    };
    let rows = trailer.rows.len() as u64;
    assert_eq!(claimed.map(u64::from), Some(rows));
    assert!(rows * ROW_BYTES + FIXED_BYTES <= bytes.len() as u64);
    for row in &trailer.rows {
        assert_eq!(Addr::from_bits(row.target.to_bits()), row.target);
        let _ = row.target.position();
    }
    let segment_bytes = align_up(rows * ROW_BYTES + FIXED_BYTES, 512) + 512;
    let again = Trailer::decode(&trailer.encode(segment_bytes, 512));
    assert_eq!(again.as_ref(), Some(&trailer));
    // Anything may lie before it.
    let longer = [&[0xa5; 48][..], &bytes].concat();
    assert_eq!(Trailer::decode(&longer), Some(trailer));
}

pub fn seeds() -> Vec<Seed> {
    let row = |n: u64| Row {
        hash: n * 31,
        target: Addr::log(Lsn((1 << 16) * 2 + n * 64)),
        bytes: 48,
        kind: FrameKind::ALL[to_usize(n % 3)],
        flags: 0,
        key_bytes: 3,
    };
    let one = |rows: u64, forged: u8| {
        let trailer = Trailer {
            cache_id: 1,
            number: SegmentId(2),
            incarnation: 3,
            data_end: 4096,
            stable: Lsn(1 << 17),
            rows: (0..rows).map(row).collect(),
        };
        let bytes = trailer.encode(1 << 16, 512);
        let from = bytes.len() - to_usize(rows * ROW_BYTES + FIXED_BYTES);
        let input = [&[forged], &bytes[from..]].concat();
        (format!("{rows}-rows-forged-{forged}"), input)
    };
    vec![one(0, 1), one(1, 0), one(3, 1), one(20, 1)]
}
