//! The whole cache under schedules drawn from a seed: `RUSTFLAGS="--cfg shuttle" cargo test -p perennial --lib shuttle`.
//!
//! A failure prints the schedule; `shuttle::replay` runs it again. `SHUTTLE_SCHEDULES` is how many schedules to draw, and
//! `SHUTTLE_SEED` which.
//! The disk is `SimFs`, so that a schedule can end in a kill: what had returned must be there afterwards.

use std::convert::Infallible;
use std::sync::Arc;

use perennial_failpoints::SimFs;
use perennial_failpoints::lab::{identify, value};
use shuttle::scheduler::PctScheduler;
use shuttle::thread;

use crate::{Cache, Options};

fn from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs `test` under as many schedules as asked for, with up to three places where the scheduler preempts.
pub(crate) fn check(default: u64, test: impl Fn() + Send + Sync + 'static) {
    let schedules = from_env("SHUTTLE_SCHEDULES").unwrap_or(default);
    let seed = from_env("SHUTTLE_SEED").unwrap_or(1);
    println!("{schedules} schedules, SHUTTLE_SEED={seed}");
    let schedules = usize::try_from(schedules).expect("a count that fits in memory");
    let mut config = shuttle::Config::new();
    // An open takes more stack than the 32 KiB that a thread has by default.
    config.stack_size = 1 << 20;
    let scheduler = PctScheduler::new_from_seed(seed, 3, schedules);
    shuttle::Runner::new(scheduler, config).run(test);
}

fn options(background: bool) -> Options {
    Options::new()
        .capacity_bytes(64 << 10)
        .segment_bytes(8 << 10)
        .tail_bytes(4 << 10)
        .memory_tier_bytes(4 << 10)
        .checkpoint_every_bytes(16 << 10)
        .index_shards(1)
        .background(background)
}

fn open(fs: &SimFs, background: bool) -> Cache {
    Cache::open_with(Arc::new(fs.clone()), "/cache", options(background)).expect("it opens")
}

/// The operation whose value a key shows; 0 where it shows none.
fn shown(cache: &Cache, key: &str) -> u64 {
    let found = cache.get(key).expect("get");
    found.map_or(0, |found| {
        identify(key.as_bytes(), &found).expect("a value of the key")
    })
}

fn put(cache: &Cache, key: &str, op: u64, len: usize) {
    let stored = cache.insert(key, value(key.as_bytes(), op, len));
    stored.expect("insert");
}

/// One thread overwrites a key, one fills segments so that it is evicted, one reads: it never sees the key go back. Killed
/// at the end, the newest is there or nothing.
#[test]
fn shuttle_a_reader_never_sees_a_key_go_back() {
    check(1_500, || {
        let fs = SimFs::new(1);
        let cache = open(&fs, false);
        let (writer, filler) = (cache.clone(), cache.clone());
        let writer = thread::spawn(move || {
            for op in 1..=4 {
                put(&writer, "key", op, 900);
            }
        });
        let filler = thread::spawn(move || {
            for op in 1..=12 {
                put(&filler, "filler", op, 1_500);
            }
        });
        let mut newest = 0;
        for _ in 0..4 {
            let now = shown(&cache, "key");
            assert!(now == 0 || now >= newest, "{now} after {newest}");
            newest = newest.max(now);
        }
        writer.join().expect("no panic");
        filler.join().expect("no panic");
        let after = open(&fs.process_crash(), false);
        assert!([0, 4].contains(&shown(&after, "key")), "stale after a kill");
        assert!([0, 12].contains(&shown(&after, "filler")));
    });
}

/// What a fetch brings never replaces an insert, nor undoes a remove, that came after it began.
#[test]
fn shuttle_a_fetch_never_overwrites_what_came_after_it() {
    check(1_500, || {
        let fs = SimFs::new(2);
        let cache = open(&fs, false);
        put(&cache, "removed", 1, 50);
        let (inserts, removes) = (cache.clone(), cache.clone());
        let inserts = thread::spawn(move || put(&inserts, "inserted", 2, 50));
        let removes = thread::spawn(move || removes.remove("removed").expect("remove"));
        for key in ["inserted", "removed"] {
            let fetch = || Ok::<_, Infallible>(value(key.as_bytes(), 9, 50));
            cache.get_or_fetch(key, fetch).expect("fetch");
        }
        inserts.join().expect("no panic");
        removes.join().expect("no panic");
        assert_eq!(
            shown(&cache, "inserted"),
            2,
            "the insert came last, or the fetch found it"
        );
        let after = open(&fs.process_crash(), false);
        assert_eq!(shown(&after, "inserted"), 2);
        assert_eq!(shown(&after, "removed"), shown(&cache, "removed"));
    });
}

/// Durable inserts share commits while another thread checkpoints, with the cache's own threads running. Without power at
/// the end, all of them are there.
#[test]
fn shuttle_durable_inserts_and_checkpoints_survive_lost_power() {
    check(700, || {
        let fs = SimFs::new(3);
        let cache = open(&fs, true);
        let threads: Vec<_> = (0..2)
            .map(|n| {
                let cache = cache.clone();
                thread::spawn(move || {
                    let key = format!("key-{n}");
                    for op in 1..=3 {
                        let value = value(key.as_bytes(), op, 100);
                        cache.insert_durable(&key, value).expect("durable");
                    }
                })
            })
            .collect();
        cache.checkpoint().expect("checkpoint");
        for thread in threads {
            thread.join().expect("no panic");
        }
        let dark = fs.power_loss(3);
        cache.close().expect("close");
        let after = open(&dark, false);
        for key in ["key-0", "key-1"] {
            assert_eq!(shown(&after, key), 3);
        }
    });
}

/// A close among writers: who was told that it stored has stored, through a kill and through a power loss, for the close
/// came back behind it or told it that the cache is closed.
#[test]
fn shuttle_a_close_among_writers_loses_nothing_that_returned() {
    check(1_500, || {
        let fs = SimFs::new(4);
        let cache = open(&fs, false);
        let writer = cache.clone();
        let writer = thread::spawn(move || {
            let stored = |op| writer.insert("key", value(b"key", op, 300)).is_ok();
            (1..=4).take_while(|op| stored(*op)).count() as u64
        });
        cache.close().expect("close");
        let stored = writer.join().expect("no panic");
        for left in [fs.process_crash(), fs.power_loss(stored)] {
            let after = open(&left, false);
            assert_eq!(shown(&after, "key"), stored);
        }
    });
}

/// Filters are built anew, for every remove makes one stale, while another thread inserts and a third one reads: what was
/// inserted is found.
#[test]
fn shuttle_a_filter_built_anew_forgets_nothing() {
    check(1_500, || {
        let cache = open(&SimFs::new(5), false);
        put(&cache, "stays", 1, 50);
        let (writer, remover) = (cache.clone(), cache.clone());
        let writer = thread::spawn(move || {
            for op in 2..=5 {
                let key = format!("new-{op}");
                put(&writer, &key, op, 50);
                assert_eq!(shown(&writer, &key), op);
            }
        });
        let remover = thread::spawn(move || {
            for op in 6..=8 {
                put(&remover, "goes", op, 50);
                remover.remove("goes").expect("remove");
                remover.engine().refresh_filters();
            }
        });
        for _ in 0..4 {
            assert_eq!(shown(&cache, "stays"), 1);
        }
        writer.join().expect("no panic");
        remover.join().expect("no panic");
        for op in 2..=5 {
            assert_eq!(shown(&cache, &format!("new-{op}")), op);
        }
        assert!(cache.stats().bloom_rebuilds > 0);
    });
}

/// What a checkpoint says, and what the log says behind it, on a machine whose cache was killed then.
fn killed_behind_a_checkpoint() -> SimFs {
    let fs = SimFs::new(6);
    let cache = open(&fs, false);
    for key in ["stays", "removed", "replaced"] {
        put(&cache, key, 1, 50);
    }
    cache.checkpoint().expect("checkpoint");
    cache.remove("removed").expect("remove");
    put(&cache, "replaced", 2, 50);
    fs.process_crash()
}

/// The first touches of a shard that is to be loaded, by readers, a writer, a remover, and one whose inserts give up the
/// segments that its image lies in: nobody sees a part of it, or what the log has replaced.
#[test]
fn shuttle_the_first_touch_of_a_shard_shows_all_of_it() {
    check(1_500, || {
        let fs = killed_behind_a_checkpoint();
        let later = options(false).load_at_open_entries(0);
        let cache = Cache::open_with(Arc::new(fs.clone()), "/cache", later).expect("it opens");
        assert_eq!(cache.stats().entries_to_load, 3);
        let others: [fn(&Cache); 3] = [
            |cache| put(cache, "replaced", 3, 60),
            |cache| cache.remove("stays").expect("remove"),
            |cache| (1..=12).for_each(|op| put(cache, "filler", op, 1_500)),
        ];
        let others = others.map(|act| {
            let cache = cache.clone();
            thread::spawn(move || act(&cache))
        });
        let mut newest = 0;
        for _ in 0..3 {
            assert_eq!(shown(&cache, "removed"), 0);
            let now = shown(&cache, "replaced");
            assert!(now == 0 || now >= newest.max(2), "{now} after {newest}");
            newest = newest.max(now);
            assert!([0, 1].contains(&shown(&cache, "stays")));
        }
        for other in others {
            other.join().expect("no panic");
        }
        assert_eq!(cache.stats().lost_in_loading, 0);
        let after = open(&fs.process_crash(), false);
        assert_eq!((shown(&after, "removed"), shown(&after, "stays")), (0, 0));
        assert!([0, 3].contains(&shown(&after, "replaced")));
    });
}

/// The same while the cache's own thread loads, and a checkpoint and a close come meanwhile: nothing is lost.
#[test]
fn shuttle_a_checkpoint_of_a_cache_that_is_being_loaded_has_everything() {
    check(700, || {
        let fs = killed_behind_a_checkpoint();
        let later = options(true).index_shards(2).load_at_open_entries(0);
        // The shards of the checkpoint, or it is loaded at once.
        drop(Cache::open_with(
            Arc::new(fs.clone()),
            "/cache",
            later.clone(),
        ));
        let cache = Cache::open_with(Arc::new(fs.clone()), "/cache", later).expect("it opens");
        let writer = cache.clone();
        let writer = thread::spawn(move || put(&writer, "new", 4, 50));
        cache.checkpoint().expect("checkpoint");
        assert_eq!(shown(&cache, "replaced"), 2);
        writer.join().expect("no panic");
        cache.close().expect("close");
        let after = open(&fs, false);
        let all = ["stays", "removed", "replaced", "new"].map(|key| shown(&after, key));
        assert_eq!(all, [1, 0, 2, 4]);
    });
}
