//! A segment's header: what is read is sound, is written as it was read, and can be calculated with.
//!
//! Input: which copies to forge, the header zone.

use perennial_wal::segment::{HeaderFound, Join, MAX_JOINS, SegmentHeader};
use perennial_wal::{Lsn, SegmentBytes, SegmentId};

use super::Seed;
use super::forge;
use super::input::Input;

pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let forged = input.u8();
    let mut zone = input.rest().to_vec();
    let half = zone.len() / 2;
    for (n, at) in [0, half].into_iter().enumerate() {
        if forged >> n & 1 == 1
            && let Some(copy) = zone.get_mut(at..at + 512)
        {
            forge::header_copy(copy);
        }
    }
    let copies = SegmentHeader::decode_copies(&zone);
    let HeaderFound::Good(header) = SegmentHeader::decode(&zone) else {
        assert!(
            !copies
                .iter()
                .any(|copy| matches!(copy, HeaderFound::Good(_)))
        );
        return;
    };
    assert!(copies.contains(&HeaderFound::Good(header.clone())));
    assert!((1..=MAX_JOINS).contains(&header.joins.len()));
    if matches!(header.sector, 512 | 4096) {
        let again = SegmentHeader::decode(&header.encode());
        assert_eq!(again, HeaderFound::Good(header.clone()));
    }
    calculate(&header);
}

/// What a scan and a walk calculate: positions that overflow would panic.
fn calculate(header: &SegmentHeader) {
    let _ = header.void_through();
    for join in &header.joins {
        for offset in [0, join.end, join.begin].map(u64::from) {
            let _ = header.seed_at(offset);
            let lsn = Lsn::new(header.number, offset, u64::from(header.segment_bytes));
            assert_eq!(lsn.segment(u64::from(header.segment_bytes)), header.number);
        }
    }
    // Without a byte of it: nothing but the joins leads the walk.
    let walked = SegmentBytes {
        header,
        file: &[],
        unread: &[],
        ring: &[],
        reserved_to: 0,
    };
    assert!(walked.walk().len() <= 2 * MAX_JOINS);
}

/// A header with so many joins.
pub(crate) fn header(joins: u32, cache_id: u64, number: u64, segment_bytes: u32) -> SegmentHeader {
    let join = |n: u32| Join {
        begin: 1024 * (n + 1),
        end: 1024 * (n + 1) - if n == 0 { 0 } else { 64 },
        incarnation: 3 + u64::from(n),
        void_through: number,
    };
    SegmentHeader {
        cache_id,
        number: SegmentId(number),
        kept: None,
        predecessor: SegmentId(number - 1),
        oldest: SegmentId(1),
        stable: Lsn(number * u64::from(segment_bytes)),
        checkpoint: Lsn(0),
        segment_bytes,
        sector: 512,
        joins: (0..joins).map(join).collect(),
    }
}

pub fn seeds() -> Vec<Seed> {
    let one = |joins: u32, forged: u8| {
        let mut input = vec![forged];
        input.extend(header(joins, 1, 2, 1 << 16).encode());
        (format!("{joins}-joins-forged-{forged}"), input)
    };
    vec![one(1, 0), one(1, 3), one(3, 1), one(17, 3)]
}
