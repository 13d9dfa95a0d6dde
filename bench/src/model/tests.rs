use perennial::reclaim::{Clock, Fifo, Policy, S3Merge, S3Options};
use quickcheck::quickcheck;

use super::{Engine, Shape, charge, hash};
use crate::report::Counts;
use crate::trace::Request;

/// About forty entries of 100 bytes in each segment.
const SHAPE: Shape = Shape {
    capacity: 4096 + 16 * 8192,
    segments: 16,
    segment_bytes: 8192,
};
/// Header, key and value, aligned, and the trailer's row.
const ENTRY: u64 = 144 + 24;
/// Entries that the cache holds, and more than those.
const FEW: u64 = 400;
const MANY: u64 = 700;

fn requests(keys: impl IntoIterator<Item = u64>) -> Vec<Request> {
    let request = |key| Request {
        key,
        value_bytes: 100,
    };
    keys.into_iter().map(request).collect()
}

fn s3_merge() -> Box<dyn Policy> {
    Box::new(S3Merge::new(S3Options::new(SHAPE.segment_bytes)))
}

fn replay(policy: Box<dyn Policy>, keys: impl IntoIterator<Item = u64>) -> Counts {
    Engine::new(SHAPE, policy).replay(&requests(keys))
}

/// A working set of 300 keys, each asked for twice in a row among keys that never return.
fn hot_and_cold() -> impl Iterator<Item = u64> {
    (0..40_000_u64).map(|n| match n % 4 {
        0 | 1 => n / 4 % 300,
        _ => 1000 + n,
    })
}

#[test]
fn entries_are_charged_as_the_log_charges_them() {
    assert_eq!(charge(hash(1), 100), ENTRY);
    // Two chunks, so a table of two crcs.
    assert_eq!(charge(hash(1), 65_537), 32 + 8 + 8 + 65_537 + 15 + 24);
}

#[test]
fn fifo_forgets_the_oldest_segment() {
    assert_eq!(replay(Box::new(Fifo), (0..FEW).chain(0..FEW)).hits, FEW);
    let counts = replay(Box::new(Fifo), (0..MANY).chain([0, 15, MANY - 50]));
    assert_eq!(counts.hits, 1, "the first are gone");
    assert_eq!(counts.moved_bytes, 0);
    assert_eq!(counts.admitted_bytes, (MANY + 2) * ENTRY);
}

#[test]
fn clock_writes_again_what_was_read() {
    let keys = (0..FEW).chain([3]).chain(FEW..MANY).chain([3, 4]);
    let counts = replay(Box::new(Clock::default()), keys);
    assert_eq!(counts.hits, 2);
    assert_eq!(counts.moved_bytes, ENTRY);
}

#[test]
fn s3_merge_keeps_what_is_read_through_a_scan() {
    let fifo = replay(Box::new(Fifo), hot_and_cold());
    let s3 = replay(s3_merge(), hot_and_cold());
    assert!(s3.hits > fifo.hits + 4500, "{s3:?} {fifo:?}");
    assert!(s3.write_amplification() < 1.2, "{s3:?}");
}

#[test]
fn a_cache_whose_entries_are_all_read_still_takes_new_ones() {
    for policy in [Box::new(Clock::default()) as Box<dyn Policy>, s3_merge()] {
        let keys = (0..700_u64).flat_map(|n| (0..=n).chain(0..=n));
        let counts = replay(policy, keys);
        assert_eq!(counts.requests, 701 * 700);
        assert!(counts.hits > counts.requests / 2);
    }
}

#[test]
fn a_value_that_fits_nowhere_is_a_miss() {
    let large = Request {
        key: 1,
        value_bytes: 1 << 20,
    };
    let counts = Engine::new(SHAPE, s3_merge()).replay(&[large; 3]);
    assert_eq!(
        (counts.requests, counts.hits, counts.admitted_bytes),
        (3, 0, 0)
    );
}

fn stays_consistent(keys: &[(u8, u16)]) -> bool {
    let request = |(key, bytes): &(u8, u16)| Request {
        key: (*key).into(),
        value_bytes: u32::from(*bytes) % 6000,
    };
    let twenty_times = keys.iter().cycle().take(keys.len() * 20);
    let trace: Vec<_> = twenty_times.map(request).collect();
    let policies = [
        Box::new(Fifo) as Box<dyn Policy>,
        Box::new(Clock::default()),
        s3_merge(),
    ];
    policies.into_iter().all(|policy| {
        let mut engine = Engine::new(SHAPE, policy);
        trace.iter().all(|request| {
            engine.request(request);
            engine.is_consistent()
        })
    })
}

quickcheck! {
    fn every_entry_lies_in_a_segment_that_is_there(keys: Vec<(u8, u16)>) -> bool {
        stays_consistent(&keys)
    }
}
