//! Hole 22 for large values: a place in the log that is reserved and then given up.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use perennial::{Cache, Options};
use perennial_failpoints::{Action, CallKind, FaultFs, Plan, SimFs};

use super::lab::{DIR, get, open, roomy};

/// Long enough for anything that is not stuck; only a test that fails waits for it.
const STUCK: Duration = Duration::from_secs(20);

/// Panics in the `nth` write of a segment after `armed` is set to it.
fn panicking(machine: &SimFs) -> (FaultFs, Arc<AtomicU64>) {
    let left = Arc::new(AtomicU64::new(0));
    let armed = Arc::clone(&left);
    let plan = Plan::new(move |call| {
        let counts = call.kind == CallKind::Write && call.name.starts_with("seg-");
        if counts && left.load(Ordering::SeqCst) > 0 && left.fetch_sub(1, Ordering::SeqCst) == 1 {
            panic!("in the middle of an extent");
        }
        Action::Pass
    });
    (FaultFs::new(Arc::new(machine.clone()), plan), armed)
}

/// A flush that must end. It runs beside: where it does not, the test should say so.
fn flush_in_time(cache: &Arc<Cache>) {
    let (done, waited) = channel();
    let beside = Arc::clone(cache);
    let flush = move || drop(done.send(beside.flush()));
    thread::Builder::new().spawn(flush).unwrap();
    let flushed = waited.recv_timeout(STUCK).expect("the flush is stuck");
    flushed.unwrap();
}

fn a_panic_gives_up(options: &Options, large: usize, nth: u64) {
    let machine = SimFs::new(22);
    let (fs, armed) = panicking(&machine);
    let cache = Cache::open_with(Arc::new(fs), DIR, options.clone()).unwrap();
    let cache = Arc::new(cache);
    cache.insert("oldest", "v").unwrap();
    cache.insert("large", vec![1; large]).unwrap();
    cache.flush().unwrap();
    armed.store(nth, Ordering::SeqCst);
    let newer = AssertUnwindSafe(|| cache.insert("large", vec![2; large]));
    assert!(catch_unwind(newer).is_err(), "write {nth} panics");
    cache.insert("behind", "v").unwrap();
    flush_in_time(&cache);
    let found = |cache: &Cache, when: &str| {
        assert_eq!(get(cache, "large"), Some(vec![1; large]), "{when}");
        assert!(get(cache, "oldest").is_some(), "{when}");
        assert!(get(cache, "behind").is_some(), "{when}");
    };
    found(&cache, "running");
    for image in [machine.process_crash(), machine.power_loss(nth)] {
        let again = open(&image, options.clone());
        found(&again, "after a crash");
        let stats = again.stats();
        assert_eq!((stats.damaged, stats.forgotten_all), (0, 0));
        std::mem::forget(again);
    }
    std::mem::forget(cache);
}

/// Nothing half-written is served or counts as damage, and nobody waits for who is gone.
#[test]
fn hole_22_a_panic_in_the_middle_of_an_extent_gives_its_place_up() {
    a_panic_gives_up(&roomy(), 5_000, 1);
    let large = roomy().capacity_bytes(32 << 20).segment_bytes(4 << 20);
    for nth in 1..=3 {
        a_panic_gives_up(&large.clone().tail_bytes(64 << 10), 2_500_000, nth);
    }
}
