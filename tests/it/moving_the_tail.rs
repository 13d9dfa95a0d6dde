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

/// In the cache's own directory and in two others.
fn places() -> [Options; 3] {
    let here = options(8 << 10);
    [
        here.clone(),
        here.clone().tail_dir("/a"),
        here.tail_dir("/b"),
    ]
}

/// Files of tails and their locks, wherever.
fn tails(fs: &SimFs) -> (usize, usize) {
    let dirs = ["/cache", "/a", "/b"].map(|dir| fs.file_names(Path::new(dir)));
    let names = dirs
        .iter()
        .flatten()
        .filter(|name| name.starts_with("tail-"));
    let (locks, tails): (Vec<_>, Vec<_>) = names.partition(|name| name.ends_with(".lock"));
    (tails.len(), locks.len())
}

fn open(fs: &SimFs, options: &Options) -> perennial::Result<Cache> {
    Cache::open_with(Arc::new(fs.clone()), "/cache", options.clone())
}

/// A killed cache with one plain entry, its tail in the place `from`.
fn killed_with_its_tail(from: &Options) -> SimFs {
    let fs = SimFs::new(16);
    let cache = open(&fs, from).expect("open");
    cache.insert("plain", "v").expect("insert");
    std::mem::forget(cache);
    fs.process_crash()
}

/// The move dies before every call, by a kill or by lost power; whoever opens next, with whatever options, finds the entry
/// and leaves one tail.
#[test]
fn a_move_that_is_killed_leaves_no_file_anywhere() {
    for (from, to) in (0..3).flat_map(|from| (0..3).map(move |to| (from, to))) {
        for n in 1.. {
            let machine = killed_with_its_tail(&places()[from]);
            let dying = Mutex::new(machine.clone());
            let image = Arc::new(Mutex::new(None));
            let taken = Arc::clone(&image);
            let on_kill =
                move || *taken.lock().unwrap() = Some(dying.lock().unwrap().process_crash());
            let fs = FaultFs::with_kill(Arc::new(machine), Plan::kill_before(n), Arc::new(on_kill));
            std::mem::forget(Cache::open_with(
                Arc::new(fs),
                "/cache",
                places()[to].clone(),
            ));
            let Some(image) = image.lock().unwrap().take() else {
                break;
            };
            for (next, options) in places().iter().enumerate() {
                let what = format!("from {from} to {to}, call {n}, then {next}");
                let killed = image.process_crash();
                let cache = open(&killed, options).unwrap_or_else(|e| panic!("{what}: {e}"));
                assert!(cache.contains("plain").expect("contains"), "{what}");
                cache.close().expect("close");
                assert_eq!(tails(&killed), (1, usize::from(next != 0)), "{what}");
                // What was written of the entry by a recovery counts, or the tail it is in: not both are lost.
                let dark = image.power_loss(n);
                let cache = open(&dark, options).unwrap_or_else(|e| panic!("{what}, power: {e}"));
                cache.close().expect("close");
                assert_eq!(tails(&dark), (1, usize::from(next != 0)), "{what}, power");
            }
        }
    }
}

/// There is no room for the new tail, elsewhere or here: the old options still open the cache, and so do the new ones once
/// there is room.
#[test]
fn a_tail_that_finds_no_room_blocks_no_later_open() {
    let larger = options(64 << 10);
    for wanted in [larger.clone(), larger.tail_dir("/a")] {
        let fs = killed_with_its_tail(&options(8 << 10));
        fs.set_capacity(Some(fs.total_bytes(Path::new("/cache")) + (40 << 10)));
        let refused = open(&fs, &wanted);
        assert_eq!(refused.unwrap_err().kind(), perennial::ErrorKind::Full);
        for (next, capacity) in [(&options(8 << 10), None), (&wanted, Some(None))] {
            let again = fs.process_crash();
            if let Some(capacity) = capacity {
                again.set_capacity(capacity);
            }
            let cache = open(&again, next).expect("the cache opens");
            assert!(cache.contains("plain").expect("contains"));
            cache.close().expect("close");
            assert_eq!(tails(&again).0, 1);
        }
    }
}
