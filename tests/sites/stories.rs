//! Lives of small caches that together reach every fault site.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use perennial::{Cache, EvictReason, Eviction, InsertOptions, Inserted, Options, Priority};
use perennial_failpoints::SimFs;
use perennial_failpoints::lab::{Crash, Keeps, Oracle, value};
use perennial_failpoints::sites::{self, SiteAction};

/// What it is about, and the life.
type Story = (&'static str, fn(&World));

pub(crate) const ALL: [Story; 16] = [
    ("a full cache", a_full_cache),
    ("a full cache that keeps what is read", a_cache_that_keeps),
    ("a cache that is cleared", a_cache_that_is_cleared),
    ("a panic in the middle of an extent", an_extent_given_up),
    (
        "nothing is finished at the log's end",
        nothing_finished_at_the_end,
    ),
    ("threads that wait for one commit", threads),
    ("kills and recoveries", kills),
    ("power losses and recoveries", power_losses),
    ("a tail that moves", moving_tails),
    ("a move that is killed", killed_moves),
    ("a capacity that shrinks", a_smaller_capacity),
    ("a capacity that shrinks while the cache runs", a_resize),
    ("a log that lies in the tail as a whole", a_log_in_the_tail),
    ("entries that are pinned, and that end", pinned_and_ending),
    ("more is pinned than fits", more_pinned_than_fits),
    ("an index that is loaded later", an_index_loaded_later),
];

/// What the oracle knows at a moment.
#[derive(Clone)]
pub(crate) struct Told(Oracle);

/// The oracle, shared with whoever takes images.
#[derive(Clone)]
pub(crate) struct Journal(Arc<Mutex<Oracle>>);

impl Journal {
    pub(crate) fn told(&self) -> Told {
        Told(self.0.lock().expect("no holder panics").clone())
    }

    fn with<T>(&self, tell: impl FnOnce(&mut Oracle) -> T) -> T {
        tell(&mut self.0.lock().expect("no holder panics"))
    }
}

/// A machine on which lives follow each other.
pub(crate) struct World {
    pub(crate) machine: Arc<Mutex<SimFs>>,
    pub(crate) journal: Journal,
    next_op: Mutex<u64>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            machine: Arc::new(Mutex::new(SimFs::new(seed))),
            journal: Journal(Arc::new(Mutex::new(Oracle::new(Keeps::WhatItLikes)))),
            next_op: Mutex::new(0),
        }
    }

    fn fs(&self) -> SimFs {
        self.machine.lock().expect("no watcher panicked").clone()
    }

    fn open(&self, options: Options) -> Cache {
        Cache::open_with(Arc::new(self.fs()), "/cache", options).expect("it opens")
    }

    fn put(&self, cache: &Cache, key: &str, len: usize, durable: bool) {
        let op = self.op();
        self.journal
            .with(|oracle| oracle.issued(key.as_bytes(), Some(op)));
        let bytes = value(key.as_bytes(), op, len);
        let done = if durable {
            cache.insert_durable(key, &bytes)
        } else {
            cache.insert(key, &bytes)
        };
        done.expect("it is stored");
        self.journal
            .with(|oracle| oracle.acknowledged(key.as_bytes(), durable));
    }

    fn remove(&self, cache: &Cache, key: &str) {
        self.journal
            .with(|oracle| oracle.issued(key.as_bytes(), None));
        cache.remove(key).expect("it is removed");
        self.journal
            .with(|oracle| oracle.acknowledged(key.as_bytes(), false));
    }

    fn remove_prefix(&self, cache: &Cache, prefix: &str) {
        let mut keys = self.journal.told().0.known_keys();
        keys.retain(|key| key.starts_with(prefix.as_bytes()));
        self.journal
            .with(|oracle| keys.iter().for_each(|key| oracle.issued(key, None)));
        cache.remove_prefix(prefix).expect("they are removed");
        self.journal
            .with(|oracle| keys.iter().for_each(|key| oracle.acknowledged(key, false)));
    }

    fn clear(&self, cache: &Cache) {
        self.journal.with(Oracle::clear_issued);
        cache.clear().expect("it is cleared");
        self.journal.with(Oracle::clear_returned);
    }

    fn flush(&self, cache: &Cache) {
        cache.flush().expect("it flushes");
        self.journal.with(Oracle::all_durable);
    }

    fn close(&self, cache: Cache) {
        cache.close().expect("it closes");
        self.journal.with(Oracle::all_durable);
    }

    /// The process is killed, or the power fails: the machine is another from now on.
    fn crash(&self, cache: Cache, power: Option<u64>) {
        let fs = self.fs();
        let after = power.map_or_else(|| fs.process_crash(), |seed| fs.power_loss(seed));
        std::mem::forget(cache);
        *self.machine.lock().expect("no watcher panicked") = after;
        if power.is_some() {
            self.journal.with(Oracle::power_was_lost);
        }
    }

    fn op(&self) -> u64 {
        let mut next = self.next_op.lock().expect("no holder panics");
        *next += 1;
        *next
    }

    /// Operations of all sizes on eight keys.
    fn work(&self, cache: &Cache, operations: usize) {
        for n in 0..operations {
            let key = format!("key-{}", n % 8);
            match n % 11 {
                3 => self.remove(cache, &key),
                5 => self.put(cache, &key, 2_600, false),
                7 => self.put(cache, &key, 120, true),
                10 => self.flush(cache),
                _ => self.put(cache, &key, 60 + n * 37 % 700, false),
            }
        }
    }
}

fn small() -> Options {
    Options::new()
        .capacity_bytes(64 << 10)
        .segment_bytes(8 << 10)
        .tail_bytes(4 << 10)
        .memory_tier_bytes(0)
        .index_shards(1)
        .checkpoint_every_bytes(16 << 10)
        .background(false)
}

fn a_full_cache(world: &World) {
    let cache = world.open(small());
    world.work(&cache, 150);
    cache.checkpoint().expect("a checkpoint");
    let fetched = cache.get_or_fetch("fetched", || Ok::<_, std::io::Error>(vec![1; 100]));
    fetched.expect("it is fetched");
    let failed = cache.insert_with_len("failed", 200, |_| Err("no"));
    failed.expect_err("the closure fails");
    world.close(cache);
    // Behind a clean end the log goes on as it is.
    let cache = world.open(small());
    world.work(&cache, 40);
    world.close(cache);
}

fn a_cache_that_keeps(world: &World) {
    let options = || {
        small()
            .capacity_bytes(128 << 10)
            .eviction(Eviction::S3Merge)
    };
    let cache = world.open(options());
    for n in 0..400 {
        world.put(
            &cache,
            &format!("key-{}", n % 100),
            300 + n * 37 % 700,
            false,
        );
        for hot in 0..50 {
            cache.get(format!("key-{hot}")).expect("a read");
        }
    }
    world.crash(cache, None);
    let cache = world.open(options());
    world.work(&cache, 100);
    world.close(cache);
}

/// By who touches it, by a thread, and because a checkpoint is written.
fn an_index_loaded_later(world: &World) {
    let options = || {
        small()
            .capacity_bytes(128 << 10)
            .eviction(Eviction::S3Merge)
            .index_shards(4)
            .load_at_open_entries(0)
    };
    let cache = world.open(options());
    for n in 0..400 {
        world.put(
            &cache,
            &format!("key-{}", n % 100),
            300 + n * 37 % 700,
            false,
        );
        for hot in 0..50 {
            cache.get(format!("key-{hot}")).expect("a read");
        }
    }
    cache.checkpoint().expect("a checkpoint");
    world.work(&cache, 10);
    world.crash(cache, None);
    let cache = world.open(options().background(true));
    while cache.stats().entries_to_load > 0 {
        std::thread::yield_now();
    }
    world.close(cache);
    let cache = world.open(options());
    assert!(cache.stats().entries_to_load > 0);
    world.work(&cache, 3);
    // What was kept is of no use any more: its segments are free once that is known.
    (0..100).for_each(|n| world.remove(&cache, &format!("key-{n}")));
    world.crash(cache, None);
    let cache = world.open(options());
    cache.checkpoint().expect("a checkpoint");
    world.close(cache);
}

fn a_cache_that_is_cleared(world: &World) {
    let told = Arc::new(Mutex::new(0));
    let listener = Arc::clone(&told);
    let count = move |_: &[u8], _: u64, _: EvictReason| *listener.lock().expect("it counts") += 1;
    let cache = world.open(small().on_evict(count));
    (0..150).for_each(|n| world.put(&cache, &format!("cold-{n}"), 600, false));
    world.work(&cache, 20);
    assert!(cache.keys().all(|key| key.is_ok()));
    world.remove_prefix(&cache, "key-1");
    world.work(&cache, 20);
    world.clear(&cache);
    assert_eq!(cache.scan_prefix("").count(), 0);
    world.work(&cache, 20);
    assert!(*told.lock().expect("it counts") > 0);
    world.crash(cache, None);
    world.close(world.open(small()));
}

fn an_extent_given_up(world: &World) {
    let cache = world.open(small());
    world.put(&cache, "large", 2_600, true);
    sites::set("wal::extent::reserved", SiteAction::Panic);
    let died = quietly(|| cache.insert("large", [1; 2_700]));
    sites::set("wal::extent::reserved", SiteAction::Pass);
    assert!(died.is_err());
    world.work(&cache, 12);
    world.crash(cache, None);
    world.close(world.open(small()));
}

/// A kill while an extent is written, and behind it a frame: nobody knows what lies there but their descriptors.
fn nothing_finished_at_the_end(world: &World) {
    let cache = world.open(small());
    world.put(&cache, "before", 100, false);
    let reserved = "wal::extent::reserved";
    sites::set(reserved, SiteAction::Delay(Duration::from_millis(200)));
    let mut after = None;
    std::thread::scope(|scope| {
        scope.spawn(|| cache.insert("extent", [1; 1_500]));
        wait_for(reserved);
        let parked = cache.insert_with_len("parked", 300, |_| {
            after = Some(world.fs().process_crash());
            Err("it was killed here")
        });
        assert!(parked.is_err());
    });
    sites::set(reserved, SiteAction::Pass);
    std::mem::forget(cache);
    *world.machine.lock().expect("no watcher panicked") = after.expect("it was begun");
    world.crash(world.open(small()), None);
    world.close(world.open(small()));
}

/// Pinned entries that are replaced among many others, and one whose end is seen.
fn pinned_and_ending(world: &World) {
    let options = || small().capacity_bytes(160 << 10);
    let cache = world.open(options());
    let put = |key: &str, len: usize, how: InsertOptions| {
        let op = world.op();
        let tell = |oracle: &mut Oracle| oracle.issued(key.as_bytes(), Some(op));
        world.journal.with(tell);
        let value = value(key.as_bytes(), op, len);
        let stored = cache.insert_with(key, value, how).expect("it is stored");
        assert_eq!(stored, Inserted::Stored);
        let tell = |oracle: &mut Oracle| oracle.acknowledged(key.as_bytes(), false);
        world.journal.with(tell);
    };
    for n in 0..1_250 {
        // Long enough between two versions that the older one was moved.
        if n % 250 < 12 {
            let pinned = InsertOptions::new().priority(Priority::Pinned);
            put(&format!("pinned-{}", n % 250), 300 + n % 700, pinned);
        }
        world.put(&cache, &format!("key-{}", n % 8), 700, false);
    }
    put(
        "ends",
        300,
        InsertOptions::new().ttl(Duration::from_secs(9)),
    );
    world.fs().advance(10_000);
    world.journal.with(|oracle| oracle.issued(b"ends", None));
    assert_eq!(cache.get("ends").expect("a read"), None);
    world
        .journal
        .with(|oracle| oracle.acknowledged(b"ends", false));
    world.crash(cache, None);
    world.close(world.open(options()));
}

/// They were pinned in a larger cache, and all lie in kept segments.
fn more_pinned_than_fits(world: &World) {
    let cache = world.open(small().capacity_bytes(256 << 10).pinned_percent(35));
    for n in 0..50 {
        let pinned = InsertOptions::new().priority(Priority::Pinned);
        let stored = cache.insert_with(format!("pinned-{n}"), [1; 900], pinned);
        assert_eq!(stored.expect("it is stored"), Inserted::Stored);
    }
    (0..1_000).for_each(|n| world.put(&cache, &format!("key-{}", n % 8), 700, false));
    world.close(cache);
    let cache = world.open(small());
    world.work(&cache, 100);
    assert!(cache.stats().pinned_lost > 0);
    world.close(cache);
}

/// A panic that is meant, without its message.
fn quietly<T>(act: impl FnOnce() -> T) -> std::thread::Result<T> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let result = catch_unwind(AssertUnwindSafe(act));
    std::panic::set_hook(hook);
    result
}

/// One key per thread, so that each has one order of operations.
fn threads(world: &World) {
    let cache = world.open(small().capacity_bytes(256 << 10).background(true));
    // Long enough that others come while a commit is led.
    sites::set(
        "wal::commit::lead",
        SiteAction::Delay(Duration::from_millis(2)),
    );
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let cache = &cache;
            scope.spawn(move || {
                let key = format!("thread-{thread}");
                for n in 0..40_usize {
                    world.put(cache, &key, 100 + n * 20, n.is_multiple_of(3));
                }
            });
        }
    });
    sites::set("wal::commit::lead", SiteAction::Pass);
    world.close(cache);
}

fn kills(world: &World) {
    for life in 0..30 {
        let cache = world.open(small());
        world.work(&cache, 3 + life * 5 % 31);
        world.crash(cache, None);
    }
    world.close(world.open(small()));
}

fn power_losses(world: &World) {
    for life in 0..120_u64 {
        let cache = world.open(small());
        let operations = usize::try_from(1 + life * 7 % 41).expect("a few");
        world.work(&cache, operations);
        // Some lives die before the machine does.
        if life % 3 == 0 {
            world.crash(cache, None);
            world.crash(world.open(small()), Some(life));
        } else {
            world.crash(cache, Some(life));
        }
        let shown = world.open(small());
        for key in world.journal.with(|oracle| oracle.known_keys()) {
            let found = shown.get(&key).expect("a read");
            let checked = world
                .journal
                .with(|oracle| oracle.check_recovered(&key, found.as_deref(), Crash::Power));
            checked.unwrap_or_else(|why| panic!("life {life}: {why}"));
        }
        world.crash(shown, None);
    }
}

fn elsewhere() -> Options {
    small().tail_dir("/tails")
}

fn moving_tails(world: &World) {
    let places = [
        small(),
        elsewhere(),
        elsewhere().tail_bytes(8 << 10),
        small(),
    ];
    for options in places {
        let cache = world.open(options);
        world.work(&cache, 20);
        world.close(cache);
    }
}

/// Killed when the identity names the new tail: the next open finds the old one, here or elsewhere.
fn killed_moves(world: &World) {
    for (before, after) in [
        (elsewhere(), small()),
        (small(), small().tail_bytes(8 << 10)),
        (small(), elsewhere()),
    ] {
        let cache = world.open(before);
        world.work(&cache, 10);
        world.close(cache);
        let fs = world.fs();
        sites::set("tails::named", SiteAction::Panic);
        let died = quietly(|| Cache::open_with(Arc::new(fs.clone()), "/cache", after.clone()));
        sites::set("tails::named", SiteAction::Pass);
        assert!(died.is_err());
        *world.machine.lock().expect("no watcher panicked") = fs.process_crash();
        world.close(world.open(after));
    }
}

fn a_smaller_capacity(world: &World) {
    let cache = world.open(small().capacity_bytes(256 << 10));
    world.work(&cache, 300);
    world.close(cache);
    let cache = world.open(small());
    world.work(&cache, 20);
    world.close(cache);
}

fn a_resize(world: &World) {
    let cache = world.open(small().capacity_bytes(256 << 10));
    world.work(&cache, 300);
    cache.resize(64 << 10).expect("it gets smaller");
    world.work(&cache, 20);
    cache.resize(128 << 10).expect("it gets larger");
    world.work(&cache, 100);
    world.close(cache);
}

/// Somebody is slow to fill an entry, so no checkpoint makes anything stable before the first segment has to go.
fn a_log_in_the_tail(world: &World) {
    let options = small().capacity_bytes(128 << 10).tail_bytes(64 << 10);
    let cache = world.open(options);
    let begun = std::sync::Barrier::new(2);
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| {
            cache.insert_with_len("slow", 100, |_| {
                begun.wait();
                wait_for("upkeep::flush");
                Ok::<_, std::io::Error>(())
            })
        });
        begun.wait();
        for n in 0..200 {
            world.put(&cache, &format!("key-{}", n % 8), 700, false);
        }
        slow.join().expect("no panic").expect("it is stored");
    });
    world.close(cache);
}

/// Returns when somebody has reached the site, or after so long that nobody will.
fn wait_for(site: &str) {
    let reached = || {
        sites::hits()
            .iter()
            .any(|(name, hits)| name == site && *hits > 0)
    };
    for _ in 0..5_000 {
        if reached() {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Opens what a stop left: nothing wrong, nothing stale, nothing removed; and it goes on.
pub(crate) fn recovers(image: &SimFs, told: &Told, crash: Crash) -> Result<(), String> {
    let fs = Arc::new(image.clone());
    let options = small().capacity_bytes(256 << 10);
    let cache = Cache::open_with(fs, "/cache", options).map_err(|e| e.to_string())?;
    let stats = cache.stats();
    if stats.damaged + stats.forgotten_all + stats.quarantined_files > 0 {
        return Err(format!("a stop was taken for damage: {stats}"));
    }
    let mut oracle = told.0.clone();
    for key in oracle.known_keys() {
        let found = cache.get(&key).map_err(|e| e.to_string())?;
        oracle.check_recovered(&key, found.as_deref(), crash)?;
    }
    cache
        .insert_durable("life", "goes on")
        .map_err(|e| e.to_string())?;
    cache.close().map_err(|e| e.to_string())
}
