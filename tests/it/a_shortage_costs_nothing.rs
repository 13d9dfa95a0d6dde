//! No handles, no memory, a sector that cannot be read: none of it is a reason to give up what is there.

use std::sync::Arc;

use perennial::{Cache, ErrorKind, Eviction, InsertOptions, Options, Priority};
use perennial_failpoints::{Action, Call, CallKind, FaultFs, Plan, SimFs};

use crate::small::{self, DIR};

const EIO: i32 = 5;
const ENOMEM: i32 = 12;
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;

const POLICIES: [Eviction; 3] = [Eviction::Fifo, Eviction::Clock, Eviction::S3Merge];

const KEYS: u64 = 600;
/// Entries of two segments: what may go for the inserts before the one that fails.
const NEXT_TO_NOTHING: usize = 2 * 16;

/// A cache of twenty segments that has evicted, on a disk whose calls can fail.
fn full(options: Options) -> (Cache, FaultFs) {
    let fs = FaultFs::new(Arc::new(SimFs::new(1)), Plan::none());
    let options = options.capacity_bytes(160 << 10);
    let cache = Cache::open_with(Arc::new(fs.clone()), DIR, options).unwrap();
    for n in 0..KEYS {
        cache.insert(n.to_le_bytes(), [7; 400]).unwrap();
        cache.get(n.saturating_sub(40).to_le_bytes()).unwrap();
    }
    cache.flush().unwrap();
    // Or nothing below could tell what is evicted.
    assert!(there(&cache) > 4 * NEXT_TO_NOTHING, "{}", there(&cache));
    (cache, fs)
}

fn there(cache: &Cache) -> usize {
    (0..KEYS)
        .filter(|n| cache.get(n.to_le_bytes()).unwrap().is_some())
        .count()
}

fn fails(kind: CallKind, errno: i32) -> Plan {
    Plan::new(move |call| {
        if call.kind == kind {
            Action::FailRaw(errno)
        } else {
            Action::Pass
        }
    })
}

/// Whoever wants a segment is told; once it gave up one after the other, for a file that could not be opened either. The log
/// goes on as soon as there are handles again.
#[test]
fn an_insert_without_handles_fails_and_evicts_next_to_nothing() {
    for eviction in POLICIES {
        for errno in [EMFILE, ENFILE, ENOMEM] {
            let (cache, fs) = full(small::options().eviction(eviction));
            let before = there(&cache);
            fs.set_plan(fails(CallKind::Open, errno));
            let refused = (0..100)
                .find_map(|_| cache.insert("another", [8; 400]).err())
                .expect("there is not so much room");
            assert_eq!(refused.kind(), ErrorKind::Io, "{refused}");
            fs.set_plan(Plan::none());
            // Of one segment, and of those that had been prepared.
            let after = there(&cache);
            eprintln!("B {eviction:?} {before} {after}");
            assert!(
                after + NEXT_TO_NOTHING >= before,
                "{eviction:?}: {after} of {before}"
            );
            for n in 1_000..1_100_u64 {
                cache.insert(n.to_le_bytes(), [9; 400]).unwrap();
            }
            cache.flush().unwrap();
        }
    }
}

/// Of an entry whose key cannot be looked at now nobody can tell whether it is to go.
#[test]
fn a_remove_by_prefix_without_handles_fails_and_removes_no_other_key() {
    let fs = FaultFs::new(Arc::new(SimFs::new(2)), Plan::none());
    let open = || {
        let options = small::options().capacity_bytes(1 << 20);
        Cache::open_with(Arc::new(fs.clone()), DIR, options).unwrap()
    };
    let cache = open();
    for n in 0..100 {
        cache.insert(format!("a/{n}"), [1; 300]).unwrap();
        cache.insert(format!("b/{n}"), [2; 300]).unwrap();
    }
    cache.close().unwrap();
    let cache = open();
    fs.set_plan(fails(CallKind::Open, EMFILE));
    let refused = cache.remove_prefix("a/").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Io, "{refused}");
    fs.set_plan(Plan::none());
    let found = |name: &str| {
        let keys = (0..100).map(|n| format!("{name}/{n}"));
        keys.filter(|key| cache.get(key).unwrap().is_some()).count()
    };
    assert_eq!(found("b"), 100);
    let left = found("a") as u64;
    assert_eq!(cache.remove_prefix("a/").unwrap(), left);
    assert_eq!((found("a"), found("b")), (0, 100));
}

/// A segment's table is at its end.
fn is_table(call: &Call<'_>) -> bool {
    call.offset + call.len > (8 << 10) - 512
}

/// What a reclaim would keep stays where it is until it can be read.
#[test]
fn a_reclaim_without_memory_waits() {
    for eviction in [Eviction::Clock, Eviction::S3Merge] {
        let (cache, fs) = full(small::options().eviction(eviction));
        let before = there(&cache);
        fs.set_plan(Plan::new(|call| match call.kind {
            CallKind::Read if !is_table(call) => Action::FailRaw(ENOMEM),
            _ => Action::Pass,
        }));
        let refused = (0..100).find_map(|_| cache.insert("another", [8; 400]).err());
        let refused = refused.expect("what is kept cannot be read");
        assert_eq!(refused.kind(), ErrorKind::Io, "{refused}");
        fs.set_plan(Plan::none());
        let after = there(&cache);
        assert!(
            after + NEXT_TO_NOTHING >= before,
            "{eviction:?}: {after} of {before}"
        );
    }
}

/// A sector of the table of the log's oldest segment is bad: it costs what it says of, and not every insert from then on.
#[test]
fn a_table_that_cannot_be_read_does_not_stop_the_log() {
    for eviction in POLICIES {
        let (cache, fs) = full(small::options().eviction(eviction));
        fs.set_plan(Plan::new(|call| match call.kind {
            CallKind::Read if is_table(call) && call.name.starts_with("seg-") => {
                Action::FailRaw(EIO)
            }
            _ => Action::Pass,
        }));
        for n in 0..500_u64 {
            cache.insert(n.to_le_bytes(), [9; 400]).unwrap();
        }
        let last = cache.get(499_u64.to_le_bytes()).unwrap();
        assert_eq!(last.as_deref(), Some(&[9; 400][..]), "{eviction:?}");
    }
}

/// A large value is written straight to its segment, and opens it for that: before it has a place there.
#[test]
fn a_large_insert_without_a_handle_is_refused_and_stops_nothing() {
    for errno in [EMFILE, ENFILE, ENOMEM] {
        let (cache, fs) = full(small::options());
        fs.set_plan(fails(CallKind::Open, errno));
        let refused = cache.insert("large", [8; 1_500]).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Io, "{refused}");
        assert!(cache.health().passes(), "{}", cache.health());
        fs.set_plan(Plan::none());
        cache.insert("large", [9; 1_500]).unwrap();
        cache.flush().unwrap();
        let found = cache.get("large").unwrap();
        assert_eq!(found.as_deref(), Some(&[9; 1_500][..]));
    }
}

/// What is pinned in a segment that the media does not give at all is lost with it. It is counted, and its room is free again.
#[test]
fn a_pinned_entry_that_no_row_tells_of_is_counted_as_lost() {
    for eviction in POLICIES {
        let fs = FaultFs::new(Arc::new(SimFs::new(3)), Plan::none());
        let options = small::options()
            .capacity_bytes(160 << 10)
            .eviction(eviction)
            .pinned_percent(20);
        let cache = Cache::open_with(Arc::new(fs.clone()), DIR, options).unwrap();
        let pin = InsertOptions::new().priority(Priority::Pinned);
        cache.insert_with("pinned", [1; 400], pin).unwrap();
        assert_eq!(cache.stats().pinned_entries, 1);
        fs.set_plan(fails(CallKind::Read, EIO));
        for n in 0..KEYS {
            cache.insert(n.to_le_bytes(), [9; 400]).unwrap();
        }
        fs.set_plan(Plan::none());
        let stats = cache.stats();
        assert_eq!(cache.get("pinned").unwrap(), None);
        let counted = (stats.pinned_lost, stats.pinned_entries, stats.pinned_bytes);
        assert_eq!(counted, (1, 0, 0), "{eviction:?}");
    }
}
