//! Another tail size at the next open: for a moment there are two tails, and still no more bytes than promised.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use perennial::{Cache, Options};
use perennial_failpoints::{Action, FaultFs, Plan, SimFs};

const CAPACITY: u64 = 256 << 10;
const SEGMENT: u64 = 8 << 10;

fn options(tail: u64) -> Options {
    Options::new()
        .capacity_bytes(CAPACITY)
        .segment_bytes(SEGMENT)
        .tail_bytes(tail)
        .background(false)
}

/// A cache that has filled its capacity.
fn full(tail: u64) -> SimFs {
    let fs = SimFs::new(1);
    let cache = Cache::open_with(Arc::new(fs.clone()), "/cache", options(tail)).expect("open");
    for n in 0..1_000_u32 {
        cache.insert(n.to_le_bytes(), [7; 400]).expect("insert");
    }
    assert!(cache.stats().evicted > 0);
    cache.close().expect("close");
    fs
}

#[test]
fn two_tails_fit_in_the_capacity() {
    for (before, after) in [(64, 8), (8, 64), (64, 60)] {
        let fs = full(before << 10);
        let most = Arc::new(AtomicU64::new(0));
        let (watched, seen) = (Mutex::new(fs.clone()), Arc::clone(&most));
        let plan = Plan::new(move |_| {
            let bytes = watched.lock().unwrap().total_bytes(Path::new("/cache"));
            seen.fetch_max(bytes, Ordering::Relaxed);
            Action::Pass
        });
        let watching = Arc::new(FaultFs::new(Arc::new(fs), plan));
        let cache = Cache::open_with(watching, "/cache", options(after << 10)).expect("open");
        let most = most.load(Ordering::Relaxed);
        assert!(
            most <= CAPACITY + SEGMENT,
            "{most} bytes while the tail went from {before} to {after} KiB"
        );
        // No more was given up for it than the room of two tails.
        let left = (0..1_000_u32).filter(|n| cache.contains(n.to_le_bytes()).expect("contains"));
        assert!(left.count() > 100);
    }
}

#[test]
fn a_tail_that_cannot_be_made_elsewhere_leaves_the_cache_as_it_was() {
    let fs = full(8 << 10);
    fs.write_file(Path::new("/file"), b"not a directory");
    let elsewhere = options(8 << 10).tail_dir("/file/tails");
    let refused = Cache::open_with(Arc::new(fs.clone()), "/cache", elsewhere);
    assert_eq!(refused.unwrap_err().kind(), perennial::ErrorKind::Io);
    let cache = Cache::open_with(Arc::new(fs), "/cache", options(8 << 10)).expect("open");
    assert!(cache.contains(999_u32.to_le_bytes()).expect("contains"));
}
