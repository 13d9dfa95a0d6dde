//! A large index is loaded as it is used, and nobody can tell but by the clock and the statistics.

use std::io::ErrorKind;
use std::sync::Arc;

use perennial::{Cache, Eviction, Options, Tail};
use perennial_failpoints::{Action, Call, CallKind, FaultFs, Plan, SimFs};

use crate::holes::lab::{get, kill, open, roomy};

const ENTRIES: u64 = 64;
const SHARDS: u32 = 8;
const EIO: i32 = 5;
const ENOMEM: i32 = 12;
const EMFILE: i32 = 24;

fn later() -> Options {
    roomy().index_shards(SHARDS).load_at_open_entries(0)
}

fn key(n: u64) -> String {
    format!("{}/{n}", if n.is_multiple_of(2) { "even" } else { "odd" })
}

/// A cache that was killed some operations behind a checkpoint: key 2 was replaced since, key 4 removed.
fn killed(options: Options) -> SimFs {
    let machine = SimFs::new(1);
    let cache = open(&machine, options);
    for n in 0..ENTRIES {
        cache.insert(key(n), n.to_le_bytes()).unwrap();
    }
    cache.checkpoint().unwrap();
    cache.insert(key(2), "newer").unwrap();
    cache.remove(key(4)).unwrap();
    kill(&machine, cache)
}

fn expected(n: u64) -> Option<Vec<u8>> {
    match n {
        2 => Some(b"newer".to_vec()),
        4 => None,
        n => Some(n.to_le_bytes().to_vec()),
    }
}

#[test]
fn a_shard_is_loaded_when_it_is_touched_and_no_other() {
    let cache = open(&killed(later()), later());
    assert_eq!(cache.stats().recovered_from_checkpoint, ENTRIES);
    let mut left = cache.stats().entries_to_load;
    assert_eq!((left, cache.stats().entries), (ENTRIES, ENTRIES));
    let mut loads = 0;
    for n in (0..ENTRIES).rev() {
        assert_eq!(get(&cache, &key(n)), expected(n), "{n}");
        let now = cache.stats().entries_to_load;
        assert!(left - now < ENTRIES / 2, "most are left alone");
        loads += u32::from(now < left);
        left = now;
    }
    assert_eq!((left, loads), (0, SHARDS));
    assert_eq!(cache.stats().entries, ENTRIES - 1);
    assert_eq!(cache.stats().lost_in_loading, 0);
}

#[test]
fn what_needs_all_of_it_loads_all_of_it() {
    let machine = killed(later());
    let all: [fn(&Cache); 4] = [
        |cache| assert_eq!(cache.keys().count() as u64, ENTRIES - 1),
        |cache| cache.checkpoint().unwrap(),
        |cache| assert_eq!(cache.remove_prefix("odd/").unwrap(), ENTRIES / 2),
        |cache| cache.clear().unwrap(),
    ];
    for (number, act) in all.iter().enumerate() {
        let cache = open(&machine.process_crash(), later());
        act(&cache);
        assert_eq!(cache.stats().entries_to_load, 0, "{number}");
    }
}

/// An index of other shards is not to be had shard by shard, and a small one is loaded sooner than a thread is started.
#[test]
fn what_cannot_or_need_not_be_loaded_later_is_loaded_at_once() {
    let machine = killed(later());
    for options in [
        later().index_shards(SHARDS * 2),
        later().index_shards(1),
        later().load_at_open_entries(ENTRIES),
        roomy().index_shards(SHARDS),
    ] {
        let cache = open(&machine.process_crash(), options);
        let stats = cache.stats();
        assert_eq!((stats.entries_to_load, stats.entries), (0, ENTRIES - 1));
        (0..ENTRIES).for_each(|n| assert_eq!(get(&cache, &key(n)), expected(n), "{n}"));
    }
}

/// Whoever opens a cache and closes it again has neither read its index nor written it.
#[test]
fn a_life_that_does_nothing_costs_nothing() {
    let machine = killed(later());
    let cache = open(&machine, later());
    cache.checkpoint().unwrap();
    cache.close().unwrap();
    let cache = open(&machine, later());
    assert_eq!(cache.stats().entries_to_load, ENTRIES - 1);
    cache.close().unwrap();
    let cache = open(&machine, later());
    assert_eq!(cache.stats().entries_to_load, ENTRIES - 1);
    (0..ENTRIES).for_each(|n| assert_eq!(get(&cache, &key(n)), expected(n), "{n}"));
}

#[test]
fn the_thread_that_loads_comes_to_its_end() {
    let machine = killed(later());
    let cache = open(&machine, later().background(true));
    while cache.stats().entries_to_load > 0 {
        std::thread::yield_now();
    }
    (0..ENTRIES).for_each(|n| assert_eq!(get(&cache, &key(n)), expected(n), "{n}"));
    cache.close().unwrap();
    // And where the close comes first.
    for _ in 0..20 {
        open(&machine, later().background(true)).close().unwrap();
    }
    let cache = open(&machine, later());
    (0..ENTRIES).for_each(|n| assert_eq!(get(&cache, &key(n)), expected(n), "{n}"));
}

/// The disk fails while a shard is loaded: its entries are forgotten, and counted, and what came later is there. A later open
/// that can read them has them again, but none that was removed with others of its prefix.
#[test]
fn what_cannot_be_loaded_is_forgotten_and_never_comes_back_removed() {
    for prefix_is_removed in [false, true] {
        let machine = killed(later());
        let fs = FaultFs::new(Arc::new(machine.clone()), Plan::none());
        let cache = Cache::open_with(Arc::new(fs.clone()), "/cache", later()).unwrap();
        fs.set_plan(Plan::fail_matching(CallKind::Read, ErrorKind::Other));
        assert_eq!(get(&cache, &key(6)), None);
        let lost = cache.stats().lost_in_loading;
        assert!((1..ENTRIES / 2).contains(&lost), "{lost}");
        fs.set_plan(Plan::none());
        let mut missing = 0;
        for n in 0..ENTRIES {
            let found = get(&cache, &key(n));
            let forgotten = found.is_none() && expected(n).is_some();
            assert!(forgotten || found == expected(n), "{n}: {found:?}");
            assert!(n != 2 || !forgotten, "it is newer than the image");
            missing += u64::from(forgotten);
        }
        assert!((lost - 2..=lost).contains(&missing), "{missing} of {lost}");
        assert_eq!(cache.stats().lost_in_loading, lost, "once");
        if prefix_is_removed {
            cache.remove_prefix("even/").unwrap();
        }
        let cache = open(&kill(&machine, cache), later());
        for n in 0..ENTRIES {
            let found = get(&cache, &key(n));
            if prefix_is_removed && n.is_multiple_of(2) {
                assert_eq!(found, None, "{n}");
            } else if !prefix_is_removed {
                assert_eq!(found, expected(n), "{n}");
            } else {
                assert!(found.is_none() || found == expected(n), "{n}");
            }
        }
    }
}

/// What was lost is not known, and the tables that would tell cannot be read: to go on would show it again after a restart.
#[test]
fn a_remove_by_prefix_that_cannot_name_what_was_lost_fails() {
    let machine = killed(later());
    let fs = FaultFs::new(Arc::new(machine.clone()), Plan::none());
    let cache = Cache::open_with(Arc::new(fs.clone()), "/cache", later()).unwrap();
    fs.set_plan(Plan::new(|call| match call.kind {
        CallKind::Read => Action::FailRaw(EIO),
        _ => Action::Pass,
    }));
    assert_eq!(get(&cache, &key(6)), None);
    assert!(cache.stats().lost_in_loading > 0);
    let refused = cache.remove_prefix("even/").unwrap_err();
    assert_eq!(refused.kind(), perennial::ErrorKind::Io, "{refused}");
    fs.set_plan(Plan::none());
    cache.remove_prefix("even/").unwrap();
    let cache = open(&kill(&machine, cache), later());
    for n in (0..ENTRIES).step_by(2) {
        assert_eq!(get(&cache, &key(n)), None, "{n}");
    }
}

/// Neither says anything of the bytes: an open that reads all of it would fail, and lose nothing by another try.
#[test]
fn no_want_of_handles_or_memory_costs_an_entry() {
    let no_handles = |call: &Call<'_>| match call.kind {
        CallKind::Open => Action::FailRaw(EMFILE),
        _ => Action::Pass,
    };
    let mut reads = 0;
    let no_memory_at_first = move |call: &Call<'_>| {
        reads += u32::from(call.kind == CallKind::Read);
        match call.kind {
            CallKind::Read if !reads.is_multiple_of(5) => Action::FailRaw(ENOMEM),
            _ => Action::Pass,
        }
    };
    for plan in [Plan::new(no_handles), Plan::new(no_memory_at_first)] {
        let fs = FaultFs::new(Arc::new(killed(later())), Plan::none());
        let cache = Cache::open_with(Arc::new(fs.clone()), "/cache", later()).unwrap();
        fs.set_plan(plan);
        // What an entry itself is read by may fail.
        (0..ENTRIES).for_each(|n| drop(cache.get(key(n))));
        let stats = cache.stats();
        assert_eq!((stats.entries_to_load, stats.lost_in_loading), (0, 0));
        fs.set_plan(Plan::none());
        (0..ENTRIES).for_each(|n| assert_eq!(get(&cache, &key(n)), expected(n), "{n}"));
    }
}

/// Handles run out in the middle of an open: it fails, or has all that it will read.
#[test]
fn an_open_without_handles_fails_and_the_next_finds_everything() {
    let mut failed = 0;
    for enough in 0..80 {
        let fs = FaultFs::new(Arc::new(killed(later())), Plan::none());
        let mut opens = 0;
        fs.set_plan(Plan::new(move |call| {
            opens += u32::from(call.kind == CallKind::Open);
            match call.kind {
                CallKind::Open if opens > enough => Action::FailRaw(EMFILE),
                _ => Action::Pass,
            }
        }));
        match Cache::open_with(Arc::new(fs.clone()), "/cache", later()) {
            Ok(cache) => {
                (0..ENTRIES).for_each(|n| drop(cache.get(key(n))));
                assert_eq!(cache.stats().lost_in_loading, 0, "{enough}");
            }
            Err(_) => failed += 1,
        }
        fs.set_plan(Plan::none());
        let cache = Cache::open_with(Arc::new(fs), "/cache", later()).unwrap();
        (0..ENTRIES).for_each(|n| assert_eq!(get(&cache, &key(n)), expected(n), "{n}"));
    }
    assert!((5..79).contains(&failed), "{failed}");
}

/// Pinned entries are there, and count against what may be pinned, whether they are loaded or not.
#[test]
fn what_is_pinned_is_known_before_it_is_loaded() {
    use perennial::{InsertOptions, Inserted, Priority, Rejection};

    let pin = || InsertOptions::new().priority(Priority::Pinned);
    let options = || later().eviction(Eviction::S3Merge).pinned_percent(10);
    let machine = SimFs::new(3);
    let cache = open(&machine, options());
    let full = Inserted::Rejected(Rejection::PinnedFull);
    let put = |cache: &Cache, n: u64| cache.insert_with(key(n), [1; 1_500], pin()).unwrap();
    let pinned = (0..).take_while(|n| put(&cache, *n) != full).count() as u64;
    assert!(pinned > 10);
    cache.checkpoint().unwrap();
    let image = kill(&machine, cache);
    let cache = open(&image, options());
    assert!(cache.stats().entries_to_load > 0);
    assert_eq!(put(&cache, pinned + 1), full);
    assert_eq!(cache.stats().pinned_entries, pinned);
    for n in 0..3_000 {
        cache.insert(format!("cold/{n}"), [2; 700]).unwrap();
    }
    for n in 0..pinned {
        assert_eq!(get(&cache, &key(n)), Some(vec![1; 1_500]), "{n}");
    }
}

/// Without a tail that survives, after lost power, with a capacity that has shrunk: opens that give something up load first.
#[test]
fn an_open_that_gives_something_up_loads_before() {
    for (tail, capacity) in [(Tail::Heap, 1 << 20), (Tail::Mapped, 128 << 10)] {
        let machine = SimFs::new(4);
        let options = || later().tail(tail).eviction(Eviction::S3Merge);
        let cache = open(&machine, options());
        for n in 0..2_000 {
            cache.insert(key(n), n.to_le_bytes().repeat(20)).unwrap();
            get(&cache, &key(n / 2));
        }
        cache.checkpoint().unwrap();
        cache.insert(key(1_999), "newer").unwrap();
        cache.flush().unwrap();
        let image = machine.power_loss(7);
        drop(cache);
        let cache = open(&image, options().capacity_bytes(capacity));
        assert_eq!(cache.stats().lost_in_loading, 0);
        assert_eq!(get(&cache, &key(1_999)), Some(b"newer".to_vec()));
        let found = (0..1_999).filter(|n| {
            let found = get(&cache, &key(*n));
            assert!(found.is_none() || found == Some(n.to_le_bytes().repeat(20)));
            found.is_some()
        });
        assert!(found.count() > 20);
        assert_eq!(cache.stats().lost_in_loading, 0);
    }
}
