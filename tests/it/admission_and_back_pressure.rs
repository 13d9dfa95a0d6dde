//! Which inserts are made, and what happens while the device hangs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use perennial::{
    Admission, Cache, ErrorKind, Inserted, Offer, Options, Rejection, ValueSize, WhenFull,
    WriteBudget,
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
    let fs = FaultFs::new(Arc::new(SimFs::new(1)), Plan::none());
    let options = options
        .capacity_bytes(8 << 20)
        .segment_bytes(256 << 10)
        .tail_bytes(256 << 10)
        .memory_tier_bytes(64 << 10);
    let cache = Cache::open_with(Arc::new(fs.clone()), "/cache", options).unwrap();
    for n in 0..1_000_u32 {
        cache.insert(n.to_le_bytes(), [7; 1000]).unwrap();
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
