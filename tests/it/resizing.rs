//! A cache keeps what fits, whatever capacity it gets while it runs or when it is opened; and never takes more.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use perennial::{Cache, ErrorKind, Eviction, Options};
use perennial_failpoints::lab::{identify, value};
use perennial_failpoints::{Action, FaultFs, Plan, SimFs};

use crate::small::{DIR, Rng};

const SEGMENT: u64 = 8 << 10;
const KIB: u64 = 1 << 10;

fn options(capacity: u64, eviction: Eviction) -> Options {
    Options::new()
        .capacity_bytes(capacity)
        .segment_bytes(SEGMENT)
        .tail_bytes(4 << 10)
        .memory_tier_bytes(0)
        .index_shards(1)
        .checkpoint_every_bytes(16 << 10)
        .eviction(eviction)
        .background(false)
}

fn open(fs: &SimFs, options: Options) -> Cache {
    Cache::open_with(Arc::new(fs.clone()), DIR, options).unwrap()
}

fn bytes(fs: &SimFs) -> u64 {
    fs.total_bytes(Path::new(DIR))
}

fn key(n: u64) -> String {
    format!("key-{n}")
}

fn put(cache: &Cache, n: u64, len: usize) {
    cache
        .insert(key(n), value(key(n).as_bytes(), n + 1, len))
        .unwrap();
}

/// How many of the keys are there; each with its own value.
fn there(cache: &Cache, keys: impl Iterator<Item = u64>) -> usize {
    let found = |n: &u64| {
        let found = cache.get(key(*n)).unwrap();
        let op = found.map(|found| identify(key(*n).as_bytes(), &found).unwrap());
        assert!(op.is_none_or(|op| op == n + 1), "{n}: {op:?}");
        op.is_some()
    };
    keys.filter(found).count()
}

const POLICIES: [Eviction; 3] = [Eviction::Fifo, Eviction::Clock, Eviction::S3Merge];

#[test]
fn a_cache_that_grows_keeps_more_and_one_that_shrinks_what_fits() {
    for eviction in POLICIES {
        let fs = SimFs::new(1);
        let cache = open(&fs, options(128 * KIB, eviction));
        (0..1_000).for_each(|n| put(&cache, n, 200));
        let small = there(&cache, 0..1_000);
        cache.resize(512 * KIB).unwrap();
        assert_eq!(
            there(&cache, 0..1_000),
            small,
            "{eviction:?}: growing costs nothing"
        );
        assert_eq!(cache.stats().capacity_bytes, 512 * KIB);
        (1_000..3_000).for_each(|n| put(&cache, n, 200));
        let large = there(&cache, 0..3_000);
        assert!(large > 3 * small, "{eviction:?}: {small}, then {large}");
        assert!(bytes(&fs) > 400 * KIB);
        cache.resize(128 * KIB).unwrap();
        let (held, stats) = (bytes(&fs), cache.stats());
        assert!(held <= 128 * KIB, "{eviction:?}: {held} bytes");
        let again = there(&cache, 0..3_000);
        assert!(
            again > small / 3 && again < 2 * small,
            "{eviction:?}: {small}, then {again}"
        );
        assert_eq!(stats.entries, again as u64);
        (3_000..4_000).for_each(|n| put(&cache, n, 200));
        assert!(bytes(&fs) <= 128 * KIB);
        cache.close().unwrap();
        // The next open has a capacity of its own, whatever this one was resized to.
        let cache = open(&fs, options(512 * KIB, eviction));
        assert!(there(&cache, 0..4_000) > small / 3);
        assert_eq!(cache.stats().capacity_bytes, 512 * KIB);
    }
}

/// What is read goes last, whoever is made smaller.
#[test]
fn a_shrink_evicts_by_the_policy() {
    for eviction in [Eviction::Clock, Eviction::S3Merge] {
        let cache = open(&SimFs::new(1), options(512 * KIB, eviction));
        for n in 0..1_500 {
            put(&cache, n, 200);
            if n % 8 == 0 {
                there(&cache, 0..20);
            }
        }
        cache.resize(96 * KIB).unwrap();
        assert_eq!(there(&cache, 0..20), 20, "{eviction:?} {}", cache.stats());
        assert!(cache.stats().moved > 0);
    }
}

/// It has to give no file back, so it gives no entry up: once it did, for a file that its policy likes to have free.
#[test]
fn a_cache_that_is_smaller_than_it_may_be_shrinks_without_evicting() {
    for eviction in POLICIES {
        let fs = SimFs::new(1);
        let cache = open(&fs, options(1 << 20, eviction));
        (0..60).for_each(|n| put(&cache, n, 400));
        cache.resize(768 << 10).unwrap();
        assert_eq!(there(&cache, 0..60), 60, "{eviction:?}");
        assert_eq!(cache.stats().evicted, 0, "{eviction:?}");
    }
}

#[test]
fn a_capacity_out_of_range_is_refused_with_the_limit_and_nothing_happens() {
    let fs = SimFs::new(1);
    let cache = open(&fs, options(128 * KIB, Eviction::Fifo));
    (0..100).for_each(|n| put(&cache, n, 200));
    // Six segments, the tail with its head, and the identity.
    let least = 61_440;
    let refused = |capacity| {
        let error = cache.resize(capacity).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        error.to_string()
    };
    for capacity in [0, 1, least - 1] {
        let said = refused(capacity);
        assert!(said.contains(&format!("at least {least}")), "{said}");
    }
    let said = refused(300 << 20);
    assert!(said.contains(&format!("at most {}", 256 << 20)), "{said}");
    let said = refused(5 << 40);
    assert!(said.contains("at most 4 TiB"), "{said}");
    assert_eq!(there(&cache, 0..100), 100);
    assert_eq!(cache.stats().capacity_bytes, 128 * KIB);
    cache.resize(least).unwrap();
    assert!(bytes(&fs) <= least);
    let closed = cache.clone();
    cache.close().unwrap();
    assert_eq!(
        closed.resize(128 * KIB).unwrap_err().kind(),
        ErrorKind::Closed
    );
}

/// Segments have names up to a million, and the index bits to tell the keys of 65,536 times the entries apart.
#[test]
fn a_cache_grows_as_far_as_it_was_made_for() {
    let large = |capacity: u64| {
        let options = Options::new().capacity_bytes(capacity).tail_bytes(64 << 20);
        options.background(false).tail(perennial::Tail::Heap)
    };
    let fs = SimFs::new(1);
    drop(open(&fs, options(64 * KIB, Eviction::Fifo)));
    let refused = |capacity| {
        let opened = Cache::open_with(Arc::new(fs.clone()), DIR, large(capacity));
        opened.err().map(|error| (error.kind(), error.to_string()))
    };
    assert_eq!(refused(4 << 30), None);
    let (kind, said) = refused(9 << 30).unwrap();
    assert_eq!(kind, ErrorKind::Invalid);
    assert!(said.contains("export and import"), "{said}");
}

#[test]
fn another_segment_size_is_refused() {
    let fs = SimFs::new(1);
    let cache = open(&fs, options(1 << 20, Eviction::Fifo));
    put(&cache, 1, 100);
    cache.close().unwrap();
    let other = options(1 << 20, Eviction::Fifo).segment_bytes(16 << 10);
    let error = Cache::open_with(Arc::new(fs.clone()), DIR, other)
        .err()
        .unwrap();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let said = error.to_string();
    assert!(
        said.contains("created with 8192") && said.contains("export and import"),
        "{said}"
    );
    let any = Options::new().capacity_bytes(1 << 20).background(false);
    assert_eq!(there(&open(&fs, any), 1..2), 1);
}

/// 21 of the hard problems: what a cache was made with says nothing about where its entries are.
#[test]
fn minimal_21_reopen_with_other_shards_capacity_cores() {
    let mut combinations = 0;
    for eviction in POLICIES {
        for shards in [1, 4, 16] {
            for (tail, capacity) in [(4, 64), (16, 80), (4, 128), (32, 128), (16, 512), (64, 512)] {
                combinations += 1;
                let fs = SimFs::new(combinations);
                let cache = open(&fs, options(128 * KIB, Eviction::S3Merge));
                for n in 0..1_000 {
                    put(&cache, n, 200);
                    if n % 8 == 0 {
                        there(&cache, 0..10);
                    }
                }
                let before = there(&cache, 0..1_000);
                let machine = if combinations % 2 == 0 {
                    cache.flush().unwrap();
                    fs.power_loss(combinations)
                } else {
                    fs.process_crash()
                };
                let other = options(capacity * KIB, eviction)
                    .index_shards(shards)
                    .tail_bytes(tail * KIB)
                    .background(combinations % 3 == 0);
                let cache = open(&machine, other.clone());
                let what = format!(
                    "{eviction:?}, {shards} shards, {tail} KiB of {capacity}: {}",
                    cache.stats()
                );
                let after = there(&cache, 0..1_000);
                if capacity >= 128 + tail {
                    assert_eq!(after, before, "{what}");
                }
                // Of six segments up to three are prepared or left free, and a checkpoint takes one.
                let least = if capacity == 64 { 1 } else { before / 4 };
                assert!(
                    (least..=before).contains(&after),
                    "{what}: {after} of {before}"
                );
                assert!(bytes(&machine) <= capacity * KIB, "{what}");
                (1_000..2_000).for_each(|n| put(&cache, n, 200));
                let last = there(&cache, 0..2_000);
                cache.close().unwrap();
                assert!(bytes(&machine) <= capacity * KIB, "{what}");
                let reopened = open(&machine, other);
                let found = reopened.stats();
                let again = there(&reopened, 0..2_000);
                assert!(
                    again <= last && again + given_up(last) > last,
                    "{what}: {again} of {last}, {found}"
                );
            }
        }
    }
    assert_eq!(combinations, 54);
}

/// What a full cache of so many small entries gives up for a close and an open: the segments of a checkpoint each (24 bytes
/// for an entry, ghosts among them), and those that an open prepares or leaves free. Of larger entries it would be little.
fn given_up(entries: usize) -> usize {
    let segments = 2 * (entries * 24).div_ceil(8 << 10) + 4;
    let entries_of_a_segment = (8 << 10) / (32 + 8 + 200 + 24);
    segments * entries_of_a_segment
}

/// Looks at the directory before every single call.
fn watched(machine: &SimFs, bound: &Arc<AtomicU64>, most: &Arc<AtomicU64>) -> FaultFs {
    let (fs, bound, most) = (machine.clone(), Arc::clone(bound), Arc::clone(most));
    let plan = Plan::new(move |_| {
        let over = bytes(&fs).saturating_sub(bound.load(Ordering::Relaxed));
        most.fetch_max(over, Ordering::Relaxed);
        Action::Pass
    });
    FaultFs::new(Arc::new(machine.clone()), plan)
}

/// Over random operations, merges, checkpoints, recoveries and repairs, resizes and other tails: the capacity is a bound
/// before every call to the file system, plus a segment; during a shrink the larger capacity is.
#[test]
fn the_capacity_is_a_bound_before_every_call() {
    for seed in 0..45 {
        let mut rng = Rng(seed);
        let eviction = POLICIES[usize::try_from(seed % 3).unwrap()];
        let mut machine = SimFs::new(seed);
        let (bound, over) = <(Arc<AtomicU64>, Arc<AtomicU64>)>::default();
        let mut capacity = 64 * KIB;
        for life in 0..8 {
            let next = (64 + 32 * rng.below(6)) * KIB;
            // An open that makes the cache smaller is a shrink.
            bound.store(next.max(capacity), Ordering::Relaxed);
            capacity = next;
            let fs = watched(&machine, &bound, &over);
            let tail = (4 << rng.below(if capacity < 96 * KIB { 1 } else { 3 })) * KIB;
            let opened = options(capacity, eviction).tail_bytes(tail);
            let cache = Cache::open_with(Arc::new(fs), DIR, opened).unwrap();
            bound.store(capacity, Ordering::Relaxed);
            for _ in 0..150 {
                let n = rng.below(60);
                let len =
                    usize::try_from(100 + rng.below(if n == 0 { 4_500 } else { 900 })).unwrap();
                match rng.below(30) {
                    0 => cache.checkpoint().unwrap(),
                    1 => {
                        let next = (96 + 32 * rng.below(6)) * KIB;
                        bound.fetch_max(next, Ordering::Relaxed);
                        cache.resize(next).unwrap();
                        capacity = next;
                        bound.store(capacity, Ordering::Relaxed);
                    }
                    2..=12 => drop(there(&cache, n..n + 3)),
                    13 => cache.remove(key(n)).unwrap(),
                    _ => put(&cache, n, len),
                }
                assert!(bytes(&machine) <= capacity, "seed {seed}, life {life}");
            }
            machine = match rng.below(3) {
                0 => {
                    cache.close().unwrap();
                    machine.process_crash()
                }
                1 => machine.process_crash(),
                _ => machine.power_loss(rng.below(1 << 20)),
            };
            let over = over.load(Ordering::Relaxed);
            assert!(
                over <= SEGMENT,
                "seed {seed}, life {life}: {over} bytes too many"
            );
        }
    }
}

/// `verify` finds a log that is whole, wherever a shrink was interrupted.
#[test]
fn a_shrink_that_is_killed_leaves_no_gap() {
    for eviction in POLICIES {
        for n in 1.. {
            let machine = SimFs::new(1);
            let cache = open(&machine, options(256 * KIB, eviction));
            (0..1_000).for_each(|n| put(&cache, n, 200));
            cache.close().unwrap();
            let image = Arc::new(Mutex::new(None));
            let (taken, dying) = (Arc::clone(&image), machine.clone());
            let on_kill = move || *taken.lock().unwrap() = Some(dying.process_crash());
            let plan = Plan::kill_before(n);
            let fs = FaultFs::with_kill(Arc::new(machine), plan, Arc::new(on_kill));
            let shrunk = Cache::open_with(Arc::new(fs), DIR, options(256 * KIB, eviction))
                .and_then(|cache| cache.resize(64 * KIB));
            let Some(killed) = image.lock().unwrap().take() else {
                shrunk.unwrap();
                break;
            };
            let report = perennial::verify_with(Arc::new(killed), DIR).unwrap();
            assert!(
                report.problems.is_empty(),
                "{eviction:?}, call {n}: {:?}",
                report.problems
            );
        }
    }
}

/// Readers and writers go on while the cache is made larger and smaller under them.
#[test]
fn threads_go_on_during_resizes() {
    for eviction in POLICIES {
        let dir = tempfile::tempdir().unwrap();
        let opened = options(1 << 20, eviction)
            .background(true)
            .tail_bytes(64 * KIB);
        let cache = Cache::open(dir.path(), opened).unwrap();
        let (done, ops) = (AtomicBool::new(false), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for thread in 0..3_u64 {
                let (cache, done, ops) = (&cache, &done, &ops);
                scope.spawn(move || {
                    let mut rng = Rng(thread);
                    while !done.load(Ordering::Relaxed) {
                        let n = rng.below(3_000);
                        if there(cache, n..n + 1) == 0 {
                            put(cache, n, 300);
                        }
                        ops.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            for turn in 0..6 {
                let capacity = if turn % 2 == 0 { 192 * KIB } else { 1 << 20 };
                cache.resize(capacity).unwrap();
                let seen = ops.load(Ordering::Relaxed);
                while ops.load(Ordering::Relaxed) < seen + 1_000 {
                    std::thread::yield_now();
                }
            }
            done.store(true, Ordering::Relaxed);
        });
        let stats = cache.stats();
        assert_eq!(stats.read_errors + stats.damaged_reads, 0, "{stats}");
        cache.close().unwrap();
    }
}
