//! Hole 1 with an entry that takes its time: whoever waits for it, it must not be everybody.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use perennial_failpoints::SimFs;

use super::lab::{get, open, roomy};

/// A closure that is slow to fill its entry holds up a checkpoint's head, and nobody else before the ring is full.
#[test]
fn hole_01_a_slow_closure_does_not_hold_up_the_upkeep() {
    let options = roomy().tail_bytes(64 << 10).checkpoint_every_bytes(8 << 10);
    let machine = SimFs::new(1);
    let cache = Arc::new(open(&machine, options.clone()));
    cache.insert_durable("old", "v").unwrap();
    let (go_on, wait) = channel::<()>();
    let (begun, filling) = channel();
    let slow = Arc::clone(&cache);
    let slow = thread::Builder::new().spawn(move || {
        slow.insert_with_len("slow", 100, |value| {
            begun.send(()).unwrap();
            wait.recv().map_err(|e| e.to_string())?;
            value.fill(7);
            Ok::<_, String>(())
        })
    });
    filling.recv().unwrap();
    let (done, inserted) = channel();
    let other = Arc::clone(&cache);
    let other = thread::Builder::new().spawn(move || {
        for n in 0..40_u32 {
            other.insert(n.to_le_bytes(), [1; 700]).unwrap();
        }
        done.send(()).unwrap();
    });
    let in_time = inserted.recv_timeout(Duration::from_secs(20));
    let during = cache.stats().checkpoints;
    let killed = open(&machine.process_crash(), options.clone());
    assert!(get(&killed, "old").is_some() && get(&killed, "slow").is_none());
    assert!(killed.contains(39_u32.to_le_bytes()).unwrap() || in_time.is_err());
    std::mem::forget(killed);
    go_on.send(()).unwrap();
    slow.unwrap().join().unwrap().unwrap();
    other.unwrap().join().unwrap();
    assert!(in_time.is_ok(), "the upkeep waits for the closure");
    // The head comes with the next round of upkeep.
    for n in 0..40_u32 {
        cache.insert(n.to_le_bytes(), [2; 700]).unwrap();
    }
    assert!(cache.stats().checkpoints > during);
    let killed = open(&machine.process_crash(), options);
    assert_eq!(get(&killed, "slow"), Some(vec![7; 100]));
    assert!(killed.stats().recovered_from_checkpoint > 0);
}
