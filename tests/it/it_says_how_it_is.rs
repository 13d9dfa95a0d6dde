//! What state the cache is in, what each call answers in it, and how service comes back (DESIGN promise 7).

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use perennial::{
    Cache, Error, ErrorKind, Health, HealthCause, HealthState, InsertOptions, Inserted, OnIoError,
    Options, Result, Tail,
};
use perennial_failpoints::fs::{Dir, Fs};
use perennial_failpoints::{Action, CallKind, FaultFs, Plan, SimFs};

use crate::small::{self, DIR};

const EIO: i32 = 5;
const EMFILE: i32 = 24;
const ENOSPC: i32 = 28;

const POLICIES: [OnIoError; 3] = [
    OnIoError::ReadOnly,
    OnIoError::MemoryOnly,
    OnIoError::FailStop,
];

/// What a listener heard.
#[derive(Default)]
struct List(Mutex<Vec<Health>>);

impl List {
    fn add(&self, health: Health) {
        self.0.lock().unwrap().push(health);
    }

    fn take(&self) -> Vec<Health> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

struct World {
    sim: SimFs,
    fs: FaultFs,
    cache: Cache,
}

fn world(options: Options) -> World {
    let sim = SimFs::new(1);
    let fs = FaultFs::new(Arc::new(sim.clone()), Plan::none());
    let cache = Cache::open_with(Arc::new(fs.clone()), DIR, options).unwrap();
    World { sim, fs, cache }
}

fn fails(kind: CallKind, errno: i32) -> Plan {
    Plan::new(move |call| match call.kind == kind {
        true => Action::FailRaw(errno),
        false => Action::Pass,
    })
}

impl World {
    /// One that holds `before`, and whose device then failed to sync once.
    fn failed(options: Options) -> Self {
        let world = world(options);
        world.cache.insert_durable("before", "1").unwrap();
        world.cache.insert("gone", "2").unwrap();
        world.fs.set_plan(fails(CallKind::SyncData, EIO));
        let refused = world.cache.flush().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Poisoned, "{refused}");
        world.fs.set_plan(Plan::none());
        world
    }

    fn kinds_of_writes(&self) -> Vec<Option<ErrorKind>> {
        let cache = &self.cache;
        let kind = |done: Result<()>| done.err().map(|error| error.kind());
        let fill = |_: &mut [u8]| Ok::<_, Error>(());
        vec![
            kind(cache.insert("a", "b").map(drop)),
            kind(cache.insert("large", [0; 3_000]).map(drop)),
            kind(cache.try_insert("a", "b").map(drop)),
            kind(cache.insert_with("a", "b", InsertOptions::new()).map(drop)),
            kind(cache.insert_with_len("a", 1, fill).map(drop)),
            kind(cache.remove("gone")),
        ]
    }

    fn kinds_of_durable_calls(&self) -> Vec<Option<ErrorKind>> {
        let cache = &self.cache;
        let kind = |done: Result<()>| done.err().map(|error| error.kind());
        vec![
            kind(cache.insert_durable("a", "b").map(drop)),
            kind(cache.remove_durable("before")),
            kind(cache.flush()),
            kind(cache.checkpoint()),
            kind(cache.clear()),
            kind(cache.remove_prefix("bef").map(drop)),
        ]
    }
}

fn all(kinds: &[Option<ErrorKind>], expected: Option<ErrorKind>) -> bool {
    kinds.iter().all(|kind| *kind == expected)
}

/// The table of `docs/architecture.md`, and that an open brings service back.
#[test]
fn each_policy_answers_as_its_table_says() {
    for policy in POLICIES {
        let world = World::failed(small::options().on_io_error(policy));
        let poisoned = Some(ErrorKind::Poisoned);
        let (state, reads, writes) = match policy {
            OnIoError::ReadOnly => (HealthState::ReadOnly, None, poisoned),
            OnIoError::MemoryOnly => (HealthState::MemoryOnly, None, None),
            _ => (HealthState::Failed, poisoned, poisoned),
        };
        let health = world.cache.health();
        assert_eq!((health.state, health.cause), (state, Some(HealthCause::Io)));
        assert!(!health.passes() && health.changes == 1 && health.since_ms > 0);
        assert!(health.reason.contains("sync"), "{health}");
        assert!(world.cache.stats().failed_acks >= 1);
        assert_eq!(world.cache.stats().health, health);
        assert!(
            world
                .cache
                .stats()
                .to_string()
                .contains(&health.to_string())
        );

        let durable = world.kinds_of_durable_calls();
        assert!(all(&durable, poisoned), "{policy:?}: {durable:?}");
        let read = world.cache.get("before");
        assert_eq!(read.as_ref().err().map(Error::kind), reads);
        assert!(read.is_err() || read.unwrap().as_deref() == Some(b"1"));
        let written = world.kinds_of_writes();
        assert!(all(&written, writes), "{policy:?}: {written:?}");

        let closed = world.cache.close().map_err(|error| error.kind());
        assert_eq!(closed, Err(ErrorKind::Poisoned));
        let again = Cache::open_with(Arc::new(world.fs), DIR, small::options()).unwrap();
        assert_eq!(again.health(), Health::default());
        again.insert_durable("life", "goes on").unwrap();
    }
}

/// Hole 32: what was only in memory is lost with the process, and nothing older shows for it.
#[test]
fn what_is_in_memory_alone_leaves_nothing_older_behind() {
    let options = || small::options().on_io_error(OnIoError::MemoryOnly);
    let World { sim, cache, .. } = World::failed(options());
    assert_eq!(cache.insert("before", "newer").unwrap(), Inserted::Stored);
    cache.remove("gone").unwrap();
    let ended = InsertOptions::new().ttl(std::time::Duration::from_secs(60));
    cache.insert_with("ends", "soon", ended).unwrap();
    assert_eq!(cache.get("before").unwrap().as_deref(), Some(&b"newer"[..]));
    assert_eq!(
        cache.get_range("before", 1..3).unwrap().as_deref(),
        Some(&b"ew"[..])
    );
    assert!(cache.contains("before").unwrap() && !cache.contains("gone").unwrap());
    let mut buf = Vec::new();
    assert!(cache.get_into("ends", &mut buf).unwrap() && buf == b"soon");
    sim.advance(61_000);
    assert_eq!(cache.get("ends").unwrap(), None, "its time is over");
    let fetched = cache.get_or_fetch("fetched", || Ok::<_, Error>(b"3".to_vec()));
    assert_eq!(fetched.unwrap().as_ref(), b"3");
    assert_eq!(cache.get("fetched").unwrap().as_deref(), Some(&b"3"[..]));
    let stats = cache.stats();
    assert!(stats.unlogged >= 4 && stats.hits_unlogged >= 4, "{stats:?}");

    let (killed, unpowered) = (sim.process_crash(), sim.power_loss(3));
    drop(cache);
    // In this boot nothing older may show; without power nothing of that life had been promised.
    for (fs, before) in [(killed, None), (sim, None), (unpowered, Some(&b"1"[..]))] {
        let again = small::open(&fs, options()).unwrap();
        assert_eq!(again.get("before").unwrap().as_deref(), before);
        assert_eq!(again.stats().forgotten_all, u64::from(before.is_none()));
        again.insert("kept", "4").unwrap();
        let after = fs.process_crash();
        let last = small::open(&after, options()).unwrap();
        assert_eq!(last.get("kept").unwrap().as_deref(), Some(&b"4"[..]));
    }
}

/// It is bounded by the memory tier's size, and one that does not fit says so and hides no older version.
#[test]
fn what_memory_has_no_room_for_is_rejected_and_nothing_older_is_there() {
    let options = small::options().on_io_error(OnIoError::MemoryOnly);
    let World { cache, .. } = World::failed(options);
    let answer = cache.insert("before", vec![7; 5_000]).unwrap();
    assert!(matches!(answer, Inserted::Rejected(_)), "{answer:?}");
    assert_eq!(cache.get("before").unwrap(), None);
    for n in 0..100_u32 {
        cache.insert(n.to_le_bytes(), [1; 400]).unwrap();
    }
    let there = (0..100_u32).filter(|n| cache.contains(n.to_le_bytes()).unwrap());
    let there = there.count();
    assert!((1..=10).contains(&there), "{there} of 400 bytes in 4 KiB");
}

#[test]
fn without_a_mapped_tail_or_a_memory_tier_it_is_read_only() {
    let memory_only = || small::options().on_io_error(OnIoError::MemoryOnly);
    for options in [
        memory_only().tail(Tail::Heap),
        memory_only().memory_tier_bytes(0),
    ] {
        let world = World::failed(options);
        assert_eq!(world.cache.health().state, HealthState::ReadOnly);
        assert!(all(&world.kinds_of_writes(), Some(ErrorKind::Poisoned)));
    }
}

/// Not even to read or to be refused costs anything: the log stands until something is in memory alone.
#[test]
fn a_failure_alone_voids_nothing_of_the_log() {
    for policy in POLICIES {
        let options = || small::options().on_io_error(policy);
        let World { sim, fs, cache } = world(options());
        cache.insert_durable("durable", "1").unwrap();
        cache.insert("plain", "2").unwrap();
        fs.set_plan(fails(CallKind::SyncData, EIO));
        assert!(cache.flush().is_err() && cache.insert_durable("new", "3").is_err());
        let read = cache.get("plain");
        assert!(policy == OnIoError::FailStop || read.unwrap().is_some());
        let killed = sim.process_crash();
        assert!(cache.close().is_err());
        for fs in [killed, sim] {
            let again = small::open(&fs, options()).unwrap();
            let there = ["durable", "plain"].map(|key| again.contains(key).unwrap());
            assert_eq!(there, [true, true], "{policy:?}");
            assert_eq!(again.stats().forgotten_all, 0);
        }
    }
}

#[test]
fn a_close_that_fails_voids_nothing_that_was_acknowledged() {
    for policy in POLICIES {
        let options = || small::options().on_io_error(policy);
        let World { sim, fs, cache } = world(options());
        cache.insert_durable("durable", "1").unwrap();
        cache.insert("plain", "2").unwrap();
        fs.set_plan(fails(CallKind::SyncData, EIO));
        assert!(cache.close().is_err());
        let again = small::open(&sim, options()).unwrap();
        let there = ["durable", "plain"].map(|key| again.contains(key).unwrap());
        assert_eq!(there, [true, true], "{policy:?}");
    }
}

/// The first insert or remove in memory is enough, whichever it is, and one that memory has no room for, too.
#[test]
fn the_first_call_in_memory_voids_the_log() {
    let options = || small::options().on_io_error(OnIoError::MemoryOnly);
    let first_calls: [fn(&Cache) -> Result<()>; 3] = [
        |cache| cache.insert("before", "newer").map(drop),
        |cache| cache.remove("before"),
        |cache| cache.insert("before", vec![7; 5_000]).map(drop),
    ];
    for first in first_calls {
        let World { sim, cache, .. } = World::failed(options());
        first(&cache).unwrap();
        let again = small::open(&sim.process_crash(), options()).unwrap();
        assert_eq!(again.get("before").unwrap(), None);
        assert_eq!(again.stats().forgotten_all, 1);
    }
}

/// A system that does not say which boot it is.
#[derive(Debug)]
struct WithoutABoot(SimFs);

impl Fs for WithoutABoot {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.0.create_dir_all(path)
    }

    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn Dir>> {
        self.0.open_dir(path)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.0.free_bytes(path)
    }

    fn boot_id(&self) -> Option<[u8; 16]> {
        None
    }

    fn random_u64(&self) -> u64 {
        self.0.random_u64()
    }

    fn unix_time_ms(&self) -> u64 {
        self.0.unix_time_ms()
    }

    fn monotonic_ns(&self) -> u64 {
        self.0.monotonic_ns()
    }
}

/// Nobody would believe the tail that anything was removed.
#[test]
fn without_a_boots_identity_nothing_is_removed_that_would_come_back() {
    let options = || small::options().on_io_error(OnIoError::MemoryOnly);
    let sim = SimFs::new(1);
    let system = Arc::new(WithoutABoot(sim.clone()));
    let fs = FaultFs::new(system, Plan::none());
    let cache = Cache::open_with(Arc::new(fs.clone()), DIR, options()).unwrap();
    cache.insert_durable("before", "1").unwrap();
    fs.set_plan(fails(CallKind::SyncData, EIO));
    assert!(cache.insert_durable("gone", "2").is_err());
    assert_eq!(cache.health().state, HealthState::ReadOnly);
    let removed = cache.remove("before").map_err(|error| error.kind());
    assert_eq!(removed, Err(ErrorKind::Poisoned));
    let killed = Arc::new(WithoutABoot(sim.process_crash()));
    let again = Cache::open_with(killed, DIR, options()).unwrap();
    assert_eq!(again.get("before").unwrap().as_deref(), Some(&b"1"[..]));
}

/// A large value goes past the ring: its place stays owed, and whoever writes the log next gives it up.
#[test]
fn a_large_value_without_room_on_the_disk_poisons_nothing() {
    let World { sim, fs, cache } = world(small::options());
    cache.insert_durable("before", "1").unwrap();
    fs.set_plan(fails(CallKind::Write, ENOSPC));
    let refused = cache.insert("large", vec![7; 1_200]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Full, "{refused}");
    cache.insert("beside", "2").unwrap();
    let refused = cache.flush().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Full, "{refused}");
    let health = cache.health();
    assert!(health.passes() && health.cause == Some(HealthCause::NoSpace));
    let killed = sim.process_crash();
    fs.set_plan(Plan::none());
    cache.insert("large", vec![8; 1_200]).unwrap();
    cache.insert_durable("after", "3").unwrap();
    assert_eq!(cache.health().state, HealthState::Healthy);
    let unpowered = sim.power_loss(1);
    for n in 0..400_u32 {
        cache.insert(n.to_le_bytes(), [9; 400]).unwrap();
    }
    cache.close().unwrap();
    for (fs, after) in [(killed, false), (unpowered, true)] {
        let again = small::open(&fs, small::options()).unwrap();
        let there = ["before", "beside", "after"].map(|key| again.contains(key).unwrap());
        assert_eq!(there, [true, true, after]);
        let large = again.get("large").unwrap();
        assert_eq!(large.is_some(), after);
        assert!(large.is_none_or(|value| *value == [8; 1_200]));
        assert_eq!(again.stats().forgotten_all, 0);
    }
}

/// Room that comes back is used though nobody flushes: a log full of what nobody may give up would end nowhere.
#[test]
fn a_place_that_is_owed_holds_no_reclaim_up() {
    let World { fs, cache, .. } = world(small::options());
    for n in 0..400_u32 {
        fs.set_plan(fails(CallKind::Write, ENOSPC));
        assert!(cache.insert("large", vec![7; 3_000]).is_err());
        fs.set_plan(Plan::none());
        cache.insert(n.to_le_bytes(), vec![9; 3_000]).unwrap();
    }
    assert_eq!(cache.health().state, HealthState::Healthy);
    cache.close().unwrap();
}

/// Inserts until one is refused.
fn refused(cache: &Cache) -> Error {
    let mut inserts = (0..2_000_u32).map(|n| cache.insert(n.to_le_bytes(), [8; 400]));
    inserts
        .find_map(Result::err)
        .expect("there is not so much room")
}

/// Who has no handles, or no room on the disk, says so, and goes on as soon as there is.
#[test]
fn what_passes_is_told_and_passes() {
    for (kind, errno, cause) in [
        (CallKind::Open, EMFILE, HealthCause::Shortage),
        (CallKind::Write, ENOSPC, HealthCause::NoSpace),
    ] {
        let heard = Arc::new(List::default());
        let ear = Arc::clone(&heard);
        let options = small::options().on_health(move |health: &Health| ear.add(health.clone()));
        let World { fs, cache, .. } = world(options);
        cache.insert_durable("before", "1").unwrap();
        fs.set_plan(fails(kind, errno));
        let error = refused(&cache);
        let health = cache.health();
        assert_eq!(
            (health.state, health.cause),
            (HealthState::ReadOnly, Some(cause)),
            "{error}"
        );
        assert!(health.passes());
        fs.set_plan(Plan::none());
        for n in 0..200_u32 {
            cache.insert(n.to_le_bytes(), [9; 400]).unwrap();
        }
        cache.insert_durable("after", "2").unwrap();
        assert_eq!(cache.health().state, HealthState::Healthy);
        assert_eq!(cache.health().changes, 2);
        let states = heard.take().into_iter().map(|health| health.state);
        let states: Vec<_> = states.collect();
        assert_eq!(states, [HealthState::ReadOnly, HealthState::Healthy]);
        cache.close().unwrap();
    }
}

/// A listener that panics, or that asks for what would wait for its own thread, harms nobody.
#[test]
fn a_listener_harms_nobody() {
    let (told, asked) = (Arc::new(List::default()), Arc::default());
    let (ear, asks): (_, Arc<std::sync::OnceLock<Cache>>) = (Arc::clone(&told), asked);
    let cache_in_it = Arc::clone(&asks);
    let options = small::options().on_health(move |health: &Health| {
        ear.add(health.clone());
        if let Some(cache) = cache_in_it.get() {
            assert!(cache.flush().is_err());
            panic!("a listener of ours");
        }
    });
    let World { fs, cache, .. } = world(options);
    assert!(asks.set(cache.clone()).is_ok());
    fs.set_plan(fails(CallKind::SyncData, EIO));
    assert!(cache.insert_durable("a", "b").is_err());
    assert_eq!(told.take().len(), 1);
    assert_eq!(cache.health().state, HealthState::ReadOnly);
}

/// A thread of ours that panics poisons the cache: no call waits for it, none pretends that it works.
#[test]
fn a_panic_in_the_background_poisons_and_nobody_waits() {
    for name in ["perennial-flusher", "perennial-upkeep"] {
        let plan = Plan::new(move |_| {
            assert_ne!(thread::current().name(), Some(name), "meant");
            Action::Pass
        });
        let World { fs, cache, .. } = world(small::options().background(true));
        cache.insert_durable("before", "1").unwrap();
        fs.set_plan(plan);
        let mut inserts = (0..100_000_u32).map(|n| cache.insert(n.to_le_bytes(), [8; 400]));
        let refused = inserts.find_map(Result::err).expect("poisoned");
        assert_eq!(refused.kind(), ErrorKind::Poisoned, "{refused}");
        let health = cache.health();
        let found = (health.state, health.cause);
        assert_eq!(
            found,
            (HealthState::ReadOnly, Some(HealthCause::Panic)),
            "{health}"
        );
        assert!(health.reason.contains("panicked"), "{health}");
        assert_eq!(cache.close().unwrap_err().kind(), ErrorKind::Poisoned);
        fs.set_plan(Plan::none());
        let again = Cache::open_with(Arc::new(fs), DIR, small::options()).unwrap();
        again.insert_durable("life", "goes on").unwrap();
    }
}
