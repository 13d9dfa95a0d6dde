//! Holes 1 to 9: checkpoint, replay, reclaim.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use perennial::{Cache, ErrorKind, Options};
use perennial_failpoints::SimFs;
use perennial_failpoints::lab::{identify, value};

use super::lab::{DIR, get, kill, open, roomy, segments_with, tiny};

/// So many that an image of them goes over several segments, and takes a while.
const KEYS: u64 = 20_000;

fn name_of(key: u64) -> String {
    format!("key-{key}")
}

/// Somebody who inserts, and the newest operation that returned on each key.
struct Writer {
    cache: Cache,
    acked: Vec<AtomicU64>,
    next: AtomicU64,
    making: AtomicBool,
    stop: AtomicBool,
}

impl Writer {
    fn insert(&self) {
        let op = self.next.fetch_add(1, Ordering::SeqCst);
        let key = op * 7 % KEYS;
        let name = name_of(key);
        let value = value(name.as_bytes(), op, 30);
        self.cache.insert(&name, value).unwrap();
        self.acked[usize::try_from(key).unwrap()].store(op, Ordering::SeqCst);
    }

    /// Inserts while a checkpoint is made, and only then: else nothing would be left of the log before long.
    fn insert_during_checkpoints(&self) {
        while !self.stop.load(Ordering::SeqCst) {
            if self.making.load(Ordering::SeqCst) {
                self.insert();
            } else {
                thread::yield_now();
            }
        }
    }

    fn acked(&self) -> Vec<u64> {
        let load = |op: &AtomicU64| op.load(Ordering::SeqCst);
        self.acked.iter().map(load).collect()
    }
}

struct SetWhenDropped<'a>(&'a AtomicBool);

impl Drop for SetWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Plain inserts come while the images of a checkpoint are made: whatever of it lost power leaves, the images point at
/// nothing that never reached the disk, and hide nothing that did.
#[test]
fn hole_01_an_image_is_no_newer_and_no_older_than_the_log_behind_it() {
    let machine = SimFs::new(1);
    // A tail so large that neither waits for the other.
    let options = || {
        roomy()
            .index_shards(64)
            .capacity_bytes(64 << 20)
            .tail_bytes(4 << 20)
    };
    let writer = Writer {
        cache: open(&machine, options()),
        acked: (0..KEYS).map(|_| AtomicU64::new(0)).collect(),
        next: AtomicU64::new(0),
        making: AtomicBool::new(false),
        stop: AtomicBool::new(false),
    };
    (0..KEYS).for_each(|_| writer.insert());
    let between = thread::scope(|scope| {
        scope.spawn(|| writer.insert_during_checkpoints());
        // Also when a check fails: the scope waits for the other thread.
        let _stop = SetWhenDropped(&writer.stop);
        let mut between = 0;
        for seed in 0..60 {
            let issued = || writer.next.load(Ordering::SeqCst);
            let before = issued();
            writer.making.store(true, Ordering::SeqCst);
            // So that it is in the middle of it.
            while issued() < before + 10 {
                std::hint::spin_loop();
            }
            writer.cache.checkpoint().unwrap();
            writer.making.store(false, Ordering::SeqCst);
            between += issued() - before;
            let floor = writer.acked();
            writer.cache.flush().unwrap();
            check_floor(&open(&machine.power_loss(seed), options()), &floor);
        }
        between
    });
    assert!(between > 0, "nothing came in between");
}

fn check_floor(cache: &Cache, floor: &[u64]) {
    assert!(cache.stats().recovered_from_checkpoint > 0);
    for (key, floor) in (0..KEYS).zip(floor) {
        let name = name_of(key);
        let found = get(cache, &name).unwrap_or_else(|| panic!("{name} is lost"));
        let op = identify(name.as_bytes(), &found).unwrap();
        assert!(op >= *floor, "{name}: {op} is older than {floor}");
    }
}

/// The image points at an entry that is still being copied. Killed then, it is a hole, and what it replaced must be found.
#[test]
fn hole_01_an_image_of_an_entry_under_way_does_not_count() {
    let machine = SimFs::new(2);
    let cache = open(&machine, roomy());
    cache.insert_durable("k", "older").unwrap();
    // So that a checkpoint that counted would not replay the older version.
    for n in 0..30_u32 {
        cache.insert(n.to_le_bytes(), [1; 900]).unwrap();
    }
    let mut image = None;
    thread::scope(|scope| {
        let fill = |_: &mut [u8]| {
            scope.spawn(|| cache.checkpoint().unwrap());
            // Time to write all it will write; whether it got there or not, the entry must be found.
            thread::sleep(Duration::from_millis(50));
            image = Some(machine.process_crash());
            Ok::<_, String>(())
        };
        cache.insert_with_len("k", 300, fill).unwrap();
    });
    let after = open(&image.unwrap(), roomy());
    assert_eq!(get(&after, "k"), Some(b"older".to_vec()));
}

/// `victim` lies in one segment, its remove in a later one, which gets lost. Returns the machine and the lost file.
fn removed_in_a_segment_that_is_lost(checkpoint_first: bool) -> (SimFs, String) {
    let machine = SimFs::new(4);
    let options = roomy().checkpoint_every_bytes(1 << 19);
    let cache = open(&machine, options);
    cache.insert_durable("victim", [0x11; 900]).unwrap();
    let fill = |n: u64| (0..n).for_each(|_| drop(cache.insert_durable("filler", [0; 900])));
    fill(10);
    if checkpoint_first {
        cache.checkpoint().unwrap();
        fill(10);
    }
    cache.insert_durable("marker", [0x22; 900]).unwrap();
    cache.remove_durable("victim").unwrap();
    fill(20);
    cache.insert_durable("newest", "v").unwrap();
    let (lost, _) = segments_with(&machine, &[0x22; 900]).remove(0);
    (kill(&machine, cache), lost)
}

#[test]
fn hole_04_a_remove_in_a_lost_segment_stays_a_remove() {
    for checkpoint_first in [false, true] {
        let (machine, lost) = removed_in_a_segment_that_is_lost(checkpoint_first);
        let missing = machine.process_crash();
        assert!(missing.remove_file(Path::new(&lost)));
        let headless = machine.process_crash();
        let mut bytes = headless.read_file(Path::new(&lost)).unwrap();
        bytes[..1024].fill(0xee);
        headless.write_file(Path::new(&lost), &bytes);
        for image in [missing, headless.power_loss(1), headless] {
            let cache = open(&image, roomy().checkpoint_every_bytes(1 << 19));
            assert_eq!(get(&cache, "victim"), None, "checkpoint {checkpoint_first}");
            // What the log still has behind the gap is newer than anything in it.
            assert!(get(&cache, "newest").is_some());
            // A checkpoint from before the gap does not count.
            assert_eq!(cache.stats().recovered_from_checkpoint, 0);
        }
    }
}

#[test]
fn hole_05_the_log_always_reaches_back_to_a_checkpoint() {
    let mut machine = SimFs::new(5);
    for life in 0..6 {
        let cache = open(&machine, tiny());
        for n in 0..400_u32 {
            cache.insert((n % 50).to_le_bytes(), [1; 200]).unwrap();
        }
        assert!(cache.stats().reclaimed_segments > 0);
        machine = kill(&machine, cache);
        let cache = open(&machine, tiny());
        let stats = cache.stats();
        assert!(stats.recovered_from_checkpoint > 0, "life {life}: {stats}");
        // Six segments of 8 KiB hold 200 of these; the replay is at most half of them and a segment.
        assert!(stats.replayed < 150, "life {life}: {stats}");
        machine = kill(&machine, cache);
    }
}

#[test]
fn hole_06_a_full_log_makes_room_for_itself() {
    let machine = SimFs::new(6);
    let cache = open(&machine, tiny());
    for n in 0..2_000_u32 {
        let key = (n % 97).to_le_bytes();
        match n % 7 {
            0 => cache.remove(key).unwrap(),
            1 => cache.remove_durable(key).unwrap(),
            2 => drop(cache.insert(key, [2; 5_000]).unwrap()),
            _ => drop(cache.insert(key, [3; 300]).unwrap()),
        }
    }
    cache.checkpoint().unwrap();
    cache.flush().unwrap();
}

#[test]
fn hole_06_a_full_disk_costs_room_and_nothing_else() {
    let machine = SimFs::new(7);
    let cache = open(&machine, roomy());
    for n in 0..40_u32 {
        cache.insert(n.to_le_bytes(), [1; 700]).unwrap();
    }
    let held = machine.total_bytes(Path::new(DIR));
    machine.set_capacity(Some(held));
    // The log goes round in the segments that there are.
    for n in 0..400_u32 {
        cache.insert_durable(n.to_le_bytes(), [2; 700]).unwrap();
        assert_eq!(get(&cache, "never"), None);
    }
    cache.checkpoint().unwrap();
    assert!(cache.stats().evicted > 0);
    machine.set_capacity(None);
    for n in 0..100_u32 {
        cache.insert(n.to_le_bytes(), [3; 700]).unwrap();
    }
    assert!(machine.total_bytes(Path::new(DIR)) > held, "it grows again");
}

#[test]
fn hole_07_the_capacity_covers_everything_in_the_directory() {
    let machine = SimFs::new(8);
    let cache = open(&machine, tiny());
    for n in 0..1_000_u32 {
        cache.insert(n.to_le_bytes(), [1; 500]).unwrap();
        let held = machine.total_bytes(Path::new(DIR));
        assert!(held <= 64 << 10, "{held} bytes after {n} inserts");
        assert!(cache.stats().file_bytes <= 64 << 10);
    }
    let refused = |options: Options| {
        let opened = Cache::open_with(Arc::new(SimFs::new(9)), DIR, options);
        opened.err().map(|error| (error.kind(), error.to_string()))
    };
    let (kind, message) = refused(tiny().capacity_bytes(40 << 10)).unwrap();
    assert_eq!(kind, ErrorKind::Invalid);
    assert!(message.contains("at least 61440"), "{message}");
    assert_eq!(refused(tiny().capacity_bytes(61_440)), None);
    let (kind, message) = refused(tiny().tail_bytes(40 << 10)).unwrap();
    assert_eq!(kind, ErrorKind::Invalid);
    assert!(message.contains("half"), "{message}");
}
