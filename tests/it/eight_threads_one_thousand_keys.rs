//! Eight threads use the same thousand keys in every way there is, on a cache so small that it never rests.
//!
//! Every operation on a key has a version, taken when it is issued. A value may show as long as no later operation was
//! issued after its own had returned, and returned before the read began. Half of the keys are written under a lock of
//! the test's, so that for them this means: never older than the last write that returned.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread::scope;

use perennial::{Cache, Options};
use perennial_failpoints::lab::{identify, value};
use perennial_failpoints::{Fs, SimFs, StdFs};

use crate::small::{self, Rng};

const KEYS: usize = 1_000;
const THREADS: u64 = 8;

/// What is known of a key.
#[derive(Default)]
struct Book {
    calls: Mutex<Calls>,
    /// Nothing older may be found by a read that begins now.
    floor: AtomicU64,
    /// Held around the writes of an exclusive key.
    exclusive: Mutex<()>,
}

#[derive(Default)]
struct Calls {
    last: u64,
    in_flight: BTreeSet<u64>,
}

/// A write under way.
struct Write<'a> {
    book: &'a Book,
    version: u64,
    /// Whatever is older had returned when this was issued.
    floor: u64,
    _exclusive: Option<MutexGuard<'a, ()>>,
}

impl Book {
    fn issue(&self, exclusive: bool) -> Write<'_> {
        let exclusive = exclusive.then(|| self.exclusive.lock().unwrap());
        let mut calls = self.calls.lock().unwrap();
        calls.last += 1;
        let version = calls.last;
        calls.in_flight.insert(version);
        Write {
            book: self,
            version,
            floor: *calls.in_flight.first().unwrap(),
            _exclusive: exclusive,
        }
    }

    fn floor(&self) -> u64 {
        self.floor.load(Ordering::SeqCst)
    }

    /// Judges what a read found that began when the floor was `floor`.
    fn judge(&self, key: &[u8], floor: u64, found: &[u8]) -> u64 {
        let version = identify(key, found).unwrap_or_else(|why| panic!("{}: {why}", shown(key)));
        let last = self.calls.lock().unwrap().last;
        assert!(
            version >= floor,
            "{}: stale, version {version}, floor {floor}",
            shown(key)
        );
        assert!(
            version <= last,
            "{}: version {version} of {last}",
            shown(key)
        );
        version
    }
}

impl Write<'_> {
    /// The write did what it should and returned.
    fn returned(self) {
        self.book.floor.fetch_max(self.floor, Ordering::SeqCst);
    }
}

impl Drop for Write<'_> {
    fn drop(&mut self) {
        self.book
            .calls
            .lock()
            .unwrap()
            .in_flight
            .remove(&self.version);
    }
}

fn shown(key: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(key)
}

fn key_of(n: usize) -> Vec<u8> {
    format!("key-{n}").into_bytes()
}

/// One of the threads.
struct Worker<'a> {
    cache: &'a Cache,
    books: &'a [Book],
    rng: Rng,
    /// The newest version of each key that this thread saw: for the keys of one writer at a time it never goes back.
    seen: Vec<u64>,
    hits: u64,
}

impl<'a> Worker<'a> {
    fn new(cache: &'a Cache, books: &'a [Book], seed: u64) -> Self {
        Self {
            cache,
            books,
            rng: Rng(seed),
            seen: vec![0; KEYS],
            hits: 0,
        }
    }

    fn work(mut self, operations: u64) -> u64 {
        for _ in 0..operations {
            let n = usize::try_from(self.rng.below(KEYS as u64)).unwrap();
            // Some keys are much wanted.
            let n = if self.rng.below(3) == 0 { n % 16 } else { n };
            match self.rng.below(200) {
                0 => self.cache.flush().unwrap(),
                1 => self.cache.checkpoint().unwrap(),
                2..=69 => self.insert(n),
                70..=84 => self.insert_with_len(n),
                85..=109 => self.remove(n),
                // A fetch takes no lock: a fetched key's versions are out of order by one fetch.
                110..=129 if !n.is_multiple_of(4) => self.fetch(n),
                130..=149 => self.get_range(n),
                _ => self.get(n),
            }
        }
        self.hits
    }

    fn len(&mut self) -> usize {
        let max = if self.rng.below(20) == 0 { 3_000 } else { 200 };
        usize::try_from(self.rng.below(max)).unwrap()
    }

    /// Even keys are written by one thread at a time.
    fn issue(&self, n: usize) -> Write<'a> {
        self.books[n].issue(n.is_multiple_of(2))
    }

    fn insert(&mut self, n: usize) {
        let (key, len, durable) = (key_of(n), self.len(), self.rng.below(40) == 0);
        let write = self.issue(n);
        let value = value(&key, write.version, len);
        if durable {
            self.cache.insert_durable(&key, value).unwrap();
        } else {
            self.cache.insert(&key, value).unwrap();
        }
        write.returned();
    }

    fn insert_with_len(&mut self, n: usize) {
        let (key, len, fails) = (key_of(n), self.len(), self.rng.below(4) == 0);
        let write = self.issue(n);
        let value = value(&key, write.version, len);
        let inserted = self.cache.insert_with_len(&key, value.len(), |bytes| {
            bytes.copy_from_slice(&value);
            if fails { Err("no") } else { Ok(()) }
        });
        assert_eq!(inserted.is_ok(), !fails);
        write.returned();
    }

    fn remove(&mut self, n: usize) {
        let durable = self.rng.below(40) == 0;
        let write = self.issue(n);
        if durable {
            self.cache.remove_durable(key_of(n)).unwrap();
        } else {
            self.cache.remove(key_of(n)).unwrap();
        }
        write.returned();
    }

    /// What is fetched is a write that begins in the closure, and that anything may overtake.
    fn fetch(&mut self, n: usize) {
        let (key, len) = (key_of(n), self.len());
        let floor = self.books[n].floor();
        let mut write = None;
        let got = self.cache.get_or_fetch(&key, || {
            let version = write.insert(self.books[n].issue(false)).version;
            Ok::<_, Infallible>(value(&key, version, len))
        });
        self.saw(n, floor, &got.unwrap());
    }

    fn get(&mut self, n: usize) {
        let floor = self.books[n].floor();
        if let Some(found) = self.cache.get(key_of(n)).unwrap() {
            self.saw(n, floor, &found);
        }
    }

    fn get_range(&mut self, n: usize) {
        let key = key_of(n);
        let end = 24 + self.rng.below(300);
        let floor = self.books[n].floor();
        let Some(part) = self.cache.get_range(&key, 0..end).unwrap() else {
            return;
        };
        let word = |at: usize| u64::from_le_bytes(part[at..at + 8].try_into().unwrap());
        let len = usize::try_from(word(8)).unwrap();
        assert!(len <= 4_000, "{}: {len} bytes", shown(&key));
        let whole = value(&key, word(0), len);
        let cut = whole.len().min(usize::try_from(end).unwrap());
        assert!(
            *part == whole[..cut],
            "{}: not a part of its value",
            shown(&key)
        );
        self.saw(n, floor, &whole);
    }

    fn saw(&mut self, n: usize, floor: u64, found: &[u8]) {
        let version = self.books[n].judge(&key_of(n), floor, found);
        // Only where versions are taken in the order in which the writes are made.
        if n.is_multiple_of(4) {
            assert!(
                version >= self.seen[n],
                "key-{n}: {version} after {}",
                self.seen[n]
            );
        }
        self.seen[n] = version;
        self.hits += 1;
    }
}

/// A cache of a few segments under eight threads.
struct Run {
    options: Options,
    operations: u64,
    /// Kills looked at while the threads are working.
    kills: u64,
}

fn options(tail_bytes: u64, segments: u64) -> Options {
    small::options()
        .capacity_bytes((segments + 1) * (8 << 10) + tail_bytes)
        .tail_bytes(tail_bytes)
        .memory_tier_bytes(16 << 10)
        .background(true)
}

impl Run {
    fn on(&self, fs: &Arc<dyn Fs>, path: &str, crash: impl Fn() -> Option<SimFs> + Sync) {
        let books: Vec<Book> = (0..KEYS).map(|_| Book::default()).collect();
        let cache = Cache::open_with(Arc::clone(fs), path, self.options.clone()).unwrap();
        let working = AtomicBool::new(true);
        let hits: u64 = scope(|s| {
            let workers: Vec<_> = (0..THREADS)
                .map(|seed| {
                    let worker = Worker::new(&cache, &books, seed);
                    s.spawn(|| worker.work(self.operations))
                })
                .collect();
            let killer = s.spawn(|| {
                // On a busy machine the first kill came after a single remove, and `check` missed what never was there.
                while working.load(Ordering::Relaxed) && cache.stats().inserts < KEYS as u64 / 10 {
                    std::thread::yield_now();
                }
                let mut kills = 0;
                while working.load(Ordering::Relaxed) && kills < self.kills {
                    self.kill(&books, path, &crash);
                    kills += 1;
                }
            });
            let hits = workers
                .into_iter()
                .map(|w| w.join().expect("a worker"))
                .sum();
            working.store(false, Ordering::Relaxed);
            killer.join().expect("a kill");
            hits
        });
        let stats = cache.stats();
        assert!(hits > THREADS * self.operations / 20, "{hits} hits");
        assert!(stats.evicted > 0 && stats.checkpoints > 0, "{stats}");
        assert_eq!((stats.damaged_reads, stats.read_errors), (0, 0), "{stats}");
        check(&cache, &books, &floors(&books));
        cache.close().unwrap();
        let cache = Cache::open_with(Arc::clone(fs), path, self.options.clone()).unwrap();
        check(&cache, &books, &floors(&books));
        let stats = cache.stats();
        assert_eq!(
            (stats.damaged, stats.forgotten_all, stats.holes),
            (0, 0, 0),
            "{stats}"
        );
    }

    /// The process dies now: what had returned before is the least that may be found.
    fn kill(&self, books: &[Book], path: &str, crash: &impl Fn() -> Option<SimFs>) {
        let floors = floors(books);
        let Some(dead) = crash() else {
            return;
        };
        let cache = Cache::open_with(Arc::new(dead), path, self.options.clone()).unwrap();
        check(&cache, books, &floors);
    }
}

/// For every key, what a read that begins now may find at least.
fn floors(books: &[Book]) -> Vec<u64> {
    books.iter().map(Book::floor).collect()
}

fn check(cache: &Cache, books: &[Book], floors: &[u64]) {
    let mut there = 0;
    for (n, (book, floor)) in books.iter().zip(floors).enumerate() {
        if let Some(found) = cache.get(key_of(n)).unwrap() {
            book.judge(&key_of(n), *floor, &found);
            there += 1;
        }
    }
    assert!(there > 0, "everything is gone");
}

fn on_sim(seed: u64, run: &Run) {
    let fs = SimFs::new(seed);
    let machine: Arc<dyn Fs> = Arc::new(fs.clone());
    run.on(&machine, small::DIR, || Some(fs.process_crash()));
}

#[test]
fn no_wrong_torn_or_stale_value_in_a_tail_of_4_kib() {
    let run = Run {
        options: options(4 << 10, 8),
        operations: 25_000,
        kills: 100,
    };
    on_sim(1, &run);
}

#[test]
fn no_wrong_torn_or_stale_value_in_a_tail_of_16_kib() {
    let run = Run {
        options: options(16 << 10, 24),
        operations: 25_000,
        kills: 100,
    };
    on_sim(2, &run);
}

#[test]
fn no_wrong_torn_or_stale_value_on_a_real_disk() {
    let dir = tempfile::tempdir().unwrap();
    let run = Run {
        options: options(16 << 10, 16),
        operations: 6_000,
        kills: 0,
    };
    let fs: Arc<dyn Fs> = Arc::new(StdFs);
    run.on(&fs, dir.path().to_str().unwrap(), || None);
}
