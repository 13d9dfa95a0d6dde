//! Which inserts are made, and what happens while the device hangs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use perennial::{
    Admission, Cache, ErrorKind, InsertOptions, Inserted, Offer, Options, Priority, Rejection,
    ValueSize, WhenFull, WriteBudget,
};
use perennial_failpoints::{Action, CallKind, FaultFs, Plan, SimFs};

fn inline(options: Options) -> Options {
    options
        .capacity_bytes(1 << 20)
        .segment_bytes(32 << 10)
        .tail_bytes(64 << 10)
        .background(false)
}

fn open(fs: &SimFs, options: Options) -> Cache {
    Cache::open_with(Arc::new(fs.clone()), "/cache", options).unwrap()
}

fn there(cache: &Cache, key: &str) -> Option<Vec<u8>> {
    cache.get(key).unwrap().map(|value| value.to_vec())
}

#[test]
fn what_is_not_admitted_takes_the_older_version_with_it() {
    let fs = SimFs::new(1);
    let options = || inline(Options::new().admission(ValueSize::new(1..=100)));
    let cache = open(&fs, options());
    let rejected = Inserted::Rejected(Rejection::NotAdmitted);
    assert_eq!(cache.insert("a", [1; 100]).unwrap(), Inserted::Stored);
    assert_eq!(cache.insert("a", [2; 101]).unwrap(), rejected);
    assert_eq!(there(&cache, "a"), None);
    cache.insert("b", [1; 50]).unwrap();
    let filled = cache.insert_with_len("b", 500, |_| Ok::<_, std::io::Error>(()));
    assert_eq!(filled.unwrap(), rejected);
    let fetched = cache.get_or_fetch("c", || Ok::<_, std::io::Error>(vec![7; 300]));
    assert_eq!(
        fetched.unwrap().len(),
        300,
        "the caller has it all the same"
    );
    assert_eq!(cache.stats().rejected, 3);
    drop(cache);
    let cache = open(&fs.process_crash(), options());
    for key in ["a", "b", "c"] {
        assert_eq!(there(&cache, key), None, "{key}");
    }
}

#[test]
fn a_budget_bounds_what_is_written() {
    let fs = SimFs::new(1);
    let budget = WriteBudget::new(50_000).unwrap();
    let cache = open(&fs, inline(Options::new().admission(budget)));
    let mut written = Vec::new();
    for second in 0..60_u64 {
        for n in 0..200_u64 {
            let _ = cache
                .insert((second * 200 + n).to_le_bytes(), [7; 1000])
                .unwrap();
            fs.advance(5);
        }
        let stats = cache.stats();
        written.push(stats.stored_bytes + stats.moved_bytes + stats.checkpoint_bytes);
    }
    let each = (written[59] - written[19]) / 40;
    assert!((40_000..55_000).contains(&each), "{each} bytes a second");
    assert_eq!(WriteBudget::new(0).unwrap_err().kind(), ErrorKind::Invalid);
}

#[derive(Debug)]
struct Nothing;

impl Admission for Nothing {
    fn admits(&self, offer: &Offer) -> bool {
        assert!(offer.value_bytes == 10 && offer.now_ms > 0);
        false
    }
}

#[test]
fn a_policy_of_ones_own_is_asked() {
    let cache = open(&SimFs::new(1), inline(Options::new().admission(Nothing)));
    let rejected = Inserted::Rejected(Rejection::NotAdmitted);
    assert_eq!(cache.insert("a", [1; 10]).unwrap(), rejected);
    assert_eq!(cache.stats().entries, 0);
}

/// Calls that wait for the device.
fn hangs(kind: CallKind) -> bool {
    matches!(
        kind,
        CallKind::Write | CallKind::SyncData | CallKind::SyncDir | CallKind::Allocate
    )
}

/// A cache with 1,000 entries on a device whose writes hang from then on, until it is let go.
fn on_a_hanging_device(options: Options) -> (Cache, FaultFs) {
    on_a_device_that_hangs(&SimFs::new(1), options)
}

fn on_a_device_that_hangs(machine: &SimFs, options: Options) -> (Cache, FaultFs) {
    let fs = FaultFs::new(Arc::new(machine.clone()), Plan::none());
    let options = options
        .capacity_bytes(8 << 20)
        .segment_bytes(256 << 10)
        .tail_bytes(256 << 10)
        .memory_tier_bytes(64 << 10);
    let cache = Cache::open_with(Arc::new(fs.clone()), "/cache", options).unwrap();
    for n in 0..1_000_u32 {
        while cache.insert(n.to_le_bytes(), [7; 1000]).ok() != Some(Inserted::Stored) {
            thread::yield_now();
        }
    }
    cache.flush().unwrap();
    fs.set_plan(Plan::new(|call| {
        if hangs(call.kind) {
            Action::Hold
        } else {
            Action::Pass
        }
    }));
    (cache, fs)
}

fn let_go(fs: &FaultFs) {
    fs.set_plan(Plan::none());
    // Who asked before the plan was another may come to be held only now.
    fs.let_go();
}

#[test]
fn reads_go_on_while_every_write_hangs() {
    let (cache, fs) = on_a_hanging_device(Options::new());
    let over = AtomicBool::new(false);
    thread::scope(|s| {
        let writer = s.spawn(|| {
            for n in 0..2_000_u32 {
                cache.insert((10_000 + n).to_le_bytes(), [8; 1000]).unwrap();
            }
        });
        while fs.held() == 0 {
            thread::yield_now();
        }
        for n in 0..100_000_u32 {
            let key = (n % 1_000).to_le_bytes();
            assert_eq!(cache.get(key).unwrap().map(|value| value[0]), Some(7));
        }
        assert!(!writer.is_finished(), "it waits for the device");
        fs.set_plan(Plan::none());
        let helper = s.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                fs.let_go();
                thread::yield_now();
            }
        });
        writer.join().unwrap();
        over.store(true, Ordering::Relaxed);
        helper.join().unwrap();
    });
    cache.close().unwrap();
}

#[test]
fn who_does_not_wait_is_told_and_no_older_version_is_there() {
    for (options, at_once) in [
        (Options::new(), true),
        (Options::new().when_full(WhenFull::Reject), false),
    ] {
        let (cache, fs) = on_a_hanging_device(options);
        let insert = |n: u32| {
            let key = (n % 1_000).to_le_bytes();
            if at_once {
                cache.try_insert(key, [9; 1000])
            } else {
                cache.insert(key, [9; 1000])
            }
        };
        let (mut busy, mut refused) = (0, 0);
        for n in 0..2_000_u32 {
            let before = cache.get((n % 1_000).to_le_bytes()).unwrap();
            let after = || cache.get((n % 1_000).to_le_bytes()).unwrap();
            match insert(n) {
                Ok(Inserted::Stored) => assert_eq!(after().unwrap()[0], 9),
                Ok(Inserted::Rejected(Rejection::Busy)) => {
                    assert!(after().is_none(), "{n}");
                    busy += 1;
                }
                Ok(other) => panic!("{other:?}"),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
                    assert_eq!(after().as_deref(), before.as_deref(), "nothing happened");
                    refused += 1;
                }
            }
        }
        assert!(busy + refused > 1_000, "{busy} {refused}");
        let_go(&fs);
        let stored = || insert(5).ok() == Some(Inserted::Stored);
        while !stored() {
            fs.let_go();
            thread::yield_now();
        }
        cache.close().unwrap();
    }
}

/// What `call` returns. It must return: a test that fails waits so long.
fn in_time<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> T {
    const STUCK: Duration = Duration::from_secs(60);
    let (done, told) = channel();
    let call = move || drop(done.send(call()));
    thread::Builder::new().spawn(call).unwrap();
    told.recv_timeout(STUCK).expect("it does not wait")
}

/// Closes a cache whose device is let go.
fn close(cache: Cache, fs: &FaultFs) {
    let_go(fs);
    let over = AtomicBool::new(false);
    thread::scope(|s| {
        s.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                fs.let_go();
                thread::yield_now();
            }
        });
        cache.close().unwrap();
        over.store(true, Ordering::Relaxed);
    });
}

type Insert = fn(&Cache, u32) -> perennial::Result<Inserted>;

/// How many were rejected, and refused. More than the whole ring has room for the removes of.
fn say_no(cache: &Cache, insert: Insert, why: Rejection) -> (u32, u32) {
    let (mut rejected, mut refused) = (0, 0);
    for n in (0..10_000).map(|n| n % 1_000) {
        match insert(cache, n) {
            Ok(inserted) => {
                assert_eq!(inserted, Inserted::Rejected(why));
                assert!(cache.get(n.to_le_bytes()).unwrap().is_none(), "{n}");
                rejected += 1;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
                refused += 1;
            }
        }
    }
    (rejected, refused)
}

/// Rejected or refused, at once: the remove of the older version does not wait for room either.
#[test]
fn what_admission_or_the_pinned_share_says_no_to_does_not_wait() {
    let options = || Options::new().admission(ValueSize::new(500..=1_000));
    let rejects = || options().when_full(WhenFull::Reject);
    let no: [(Options, Insert, Rejection); 3] = [
        (
            options(),
            |cache, n| cache.try_insert(n.to_le_bytes(), [9; 100]),
            Rejection::NotAdmitted,
        ),
        (
            rejects(),
            |cache, n| cache.insert(n.to_le_bytes(), [9; 100]),
            Rejection::NotAdmitted,
        ),
        (
            rejects().pinned_percent(0),
            |cache, n| {
                let pinned = InsertOptions::new().priority(Priority::Pinned);
                cache.insert_with(n.to_le_bytes(), [9; 100], pinned)
            },
            Rejection::PinnedFull,
        ),
    ];
    for (options, insert, why) in no {
        let (cache, fs) = on_a_hanging_device(options);
        let inside = cache.clone();
        let (rejected, refused) = in_time(move || say_no(&inside, insert, why));
        assert!(
            rejected > 1_000 && refused > 0,
            "{why:?}: {rejected} {refused}"
        );
        close(cache, &fs);
    }
}

/// The first pinned entry waits for nothing either, and for room that a reclaim of it will need least of all.
#[test]
fn the_first_that_is_pinned_does_not_wait() {
    let (cache, fs) = on_a_hanging_device(Options::new().when_full(WhenFull::Reject));
    // The upkeep's own.
    let over = AtomicBool::new(false);
    thread::scope(|s| {
        s.spawn(|| {
            let _ = cache.checkpoint();
            over.store(true, Ordering::Relaxed);
        });
        while fs.held() == 0 {
            thread::yield_now();
        }
        let inside = cache.clone();
        let pinned = InsertOptions::new().priority(Priority::Pinned);
        let inserted = in_time(move || inside.insert_with("p", [1; 100], pinned));
        assert_eq!(inserted.unwrap(), Inserted::Stored);
        let_go(&fs);
        while !over.load(Ordering::Relaxed) {
            fs.let_go();
            thread::yield_now();
        }
    });
    close(cache, &fs);
}

/// Inserts that do not wait leave room for the removes of what is rejected. Each is logged: a killed process leaves
/// no older version of what was rejected; and what no remove can be logged for is refused, there or not.
#[test]
fn the_first_that_find_no_room_are_rejected_and_not_refused() {
    let machine = SimFs::new(1);
    let (cache, fs) = on_a_device_that_hangs(&machine, Options::new());
    let rejected = Inserted::Rejected(Rejection::Busy);
    let mut found = Vec::new();
    for n in 0..1_000_u32 {
        found.push((n, cache.try_insert(n.to_le_bytes(), [9; 1_000])));
    }
    let full =
        |found: &&(u32, perennial::Result<Inserted>)| !matches!(found.1, Ok(Inserted::Stored));
    for (n, found) in found.iter().filter(full).take(100) {
        assert_eq!(found.as_ref().ok(), Some(&rejected), "{n} {found:?}");
    }
    // Nothing of a large one is written, in vain, and to a device that hangs.
    let inside = cache.clone();
    let large = in_time(move || inside.try_insert("large", vec![9; 150_000]));
    assert!(large.is_err() || large.unwrap() == rejected);
    let mut refused = 0;
    for n in 0..10_000_u64 {
        match cache.try_insert(n.to_le_bytes(), [9; 1_000]) {
            Ok(inserted) => assert_eq!(inserted, rejected),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
                refused += 1;
            }
        }
    }
    assert!(
        refused > 0,
        "no more is logged, of what is not there either"
    );
    let killed = machine.process_crash();
    let options = Options::new()
        .capacity_bytes(8 << 20)
        .segment_bytes(256 << 10)
        .tail_bytes(256 << 10)
        .background(false);
    let again = open(&killed, options);
    for (n, found) in &found {
        let there = again.get(n.to_le_bytes()).unwrap().map(|value| value[0]);
        let expected = match found {
            Ok(Inserted::Stored) => Some(9),
            Ok(_) => None,
            Err(_) => Some(7),
        };
        assert_eq!(there, expected, "{n}: {found:?}");
    }
    close(cache, &fs);
}
