//! Holes 1 to 9: checkpoint, replay, reclaim.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use perennial::{Cache, ErrorKind, Options};
use perennial_failpoints::SimFs;

use super::lab::{DIR, get, kill, open, roomy, segments_with, tiny};
use crate::oracle::{identify, value};

/// So many that an image of them goes over several segments.
const KEYS: u64 = 1_200;

fn name_of(key: u64) -> String {
    format!("key-{key}")
}

/// The newest operation on each key.
type Newest = Vec<AtomicU64>;

fn write_until(cache: &Cache, stop: &AtomicBool, issued: &AtomicU64, acked: &Newest) {
    while !stop.load(Ordering::Relaxed) {
        let op = issued.fetch_add(1, Ordering::SeqCst);
        let key = op * 7 % KEYS;
        let name = name_of(key);
        let value = value(name.as_bytes(), op, 30);
        cache.insert(&name, value).unwrap();
        acked[usize::try_from(key).unwrap()].store(op, Ordering::SeqCst);
    }
}

fn checkpoint_until(cache: &Cache, stop: &AtomicBool, acked: &Newest, durable: &Newest) {
    while !stop.load(Ordering::Relaxed) {
        cache.checkpoint().unwrap();
        // With what came while the images were made: it must be found behind the checkpoint's C.
        let before: Vec<u64> = acked.iter().map(|op| op.load(Ordering::SeqCst)).collect();
        cache.flush().unwrap();
        for (durable, op) in durable.iter().zip(before) {
            durable.store(op, Ordering::SeqCst);
        }
    }
}

/// Plain inserts go on while checkpoints are made, and the power fails in between: no image points at what never reached
/// the disk, and none hides what came while it was made.
#[test]
fn hole_01_an_image_is_no_newer_and_no_older_than_the_log_behind_it() {
    let machine = SimFs::new(1);
    let options = || roomy().index_shards(8).capacity_bytes(16 << 20);
    let cache = open(&machine, options());
    let newest = || (0..KEYS).map(|_| AtomicU64::new(0)).collect::<Newest>();
    let (acked, durable) = (newest(), newest());
    for key in 0..KEYS {
        let name = name_of(key);
        cache.insert(&name, value(name.as_bytes(), 0, 30)).unwrap();
    }
    cache.flush().unwrap();
    let (stop, issued) = (AtomicBool::new(false), AtomicU64::new(1));
    thread::scope(|scope| {
        scope.spawn(|| write_until(&cache, &stop, &issued, &acked));
        scope.spawn(|| checkpoint_until(&cache, &stop, &acked, &durable));
        for seed in 0..60 {
            let floor: Vec<u64> = durable.iter().map(|op| op.load(Ordering::SeqCst)).collect();
            let after = open(&machine.power_loss(seed), options());
            for (key, floor) in (0..KEYS).zip(floor) {
                let name = name_of(key);
                let found = get(&after, &name);
                let found = found.unwrap_or_else(|| panic!("seed {seed}: {name} is lost"));
                let op = identify(name.as_bytes(), &found).unwrap();
                assert!(op >= floor, "seed {seed}: {name}: {op}, not {floor}");
            }
            std::mem::forget(after);
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(cache.stats().checkpoints > 3);
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
