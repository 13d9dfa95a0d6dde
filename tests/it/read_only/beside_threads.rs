//! Real files, a mapped tail, and threads that overwrite, remove, flush and reclaim as fast as they can.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use perennial::{Cache, ErrorKind, Options, Tail};
use perennial_failpoints::lab::{identify, value};

const WRITERS: u64 = 2;
const KEYS: usize = 50;
const OPENS: u64 = 60;

fn key(writer: u64, n: usize) -> Vec<u8> {
    format!("{writer}/{n}").into_bytes()
}

/// What one writer has done to its keys: the operation that a flush made durable, and the newest that was begun.
struct Done {
    durable: Vec<AtomicU64>,
    begun: AtomicU64,
    stop: AtomicBool,
}

impl Done {
    fn new() -> Self {
        Self {
            durable: (0..KEYS).map(|_| AtomicU64::new(0)).collect(),
            begun: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        }
    }
}

/// Every operation has a number, which its value says; a remove has one, too.
fn write(cache: &Cache, writer: u64, done: &Done) {
    let mut newest = [0; KEYS];
    let mut op = 0_u64;
    while !done.stop.load(Ordering::Relaxed) {
        op += 1;
        done.begun.store(op, Ordering::SeqCst);
        let n = usize::try_from(op.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40).unwrap() % KEYS;
        let key = key(writer, n);
        if op.is_multiple_of(7) {
            cache.remove(&key).unwrap();
        } else {
            let len = if op.is_multiple_of(40) {
                20_000
            } else {
                100 + n * 30
            };
            cache.insert(&key, value(&key, op, len)).unwrap();
        }
        newest[n] = op;
        if op.is_multiple_of(50) {
            cache.flush().unwrap();
            let durable = done.durable.iter().zip(newest);
            durable.for_each(|(durable, op)| durable.store(op, Ordering::SeqCst));
        }
    }
}

/// Opens again and again; what is found is no older than the last flush before, and the same as long as it is found. How many
/// values were.
fn read(dir: &std::path::Path, done: &[Done]) -> u64 {
    let mut found = 0;
    for _ in 0..OPENS {
        let floor: Vec<Vec<u64>> = done
            .iter()
            .map(|done| {
                done.durable
                    .iter()
                    .map(|op| op.load(Ordering::SeqCst))
                    .collect()
            })
            .collect();
        let snapshot = match Cache::open_read_only(dir) {
            Ok(snapshot) => snapshot,
            Err(error) if error.kind() == ErrorKind::Busy => continue,
            Err(error) => panic!("{error}"),
        };
        for (writer, done) in (0..).zip(done) {
            let newest = done.begun.load(Ordering::SeqCst);
            let floor = &floor[usize::try_from(writer).unwrap()];
            for (n, floor) in floor.iter().enumerate() {
                let key = key(writer, n);
                let Some(first) = snapshot.get(&key).unwrap() else {
                    continue;
                };
                let op = identify(&key, &first).unwrap();
                assert!(*floor <= op && op <= newest, "{floor} {op} {newest}");
                let again = snapshot.get(&key).unwrap();
                assert!(again.is_none() || again == Some(first), "key {n}");
                found += 1;
            }
        }
        assert_eq!(snapshot.stats().damaged_reads, 0);
    }
    found
}

fn run(options: Options) {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path(), options).unwrap();
    let done: Vec<_> = (0..WRITERS).map(|_| Done::new()).collect();
    let found = std::thread::scope(|scope| {
        for (writer, done) in (0..).zip(&done) {
            let cache = &cache;
            scope.spawn(move || write(cache, writer, done));
        }
        // Whoever fails lets the writers end.
        let read = std::panic::catch_unwind(|| read(dir.path(), &done));
        done.iter()
            .for_each(|done| done.stop.store(true, Ordering::Relaxed));
        read.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    assert!(found > OPENS, "{found}");
    cache.close().unwrap();
}

fn options() -> Options {
    Options::new()
        .capacity_bytes(4 << 20)
        .segment_bytes(128 << 10)
        .tail_bytes(64 << 10)
        .memory_tier_bytes(0)
}

#[test]
fn nothing_older_than_the_last_flush_is_shown() {
    run(options());
}

#[test]
fn nor_with_a_tail_in_memory() {
    run(options().tail(Tail::Heap));
}
