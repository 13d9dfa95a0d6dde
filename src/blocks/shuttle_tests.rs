//! Flights under schedules drawn from a seed: `RUSTFLAGS="--cfg shuttle" cargo test -p perennial --lib shuttle`.

use std::sync::Arc;

use perennial_failpoints::SimFs;
use shuttle::thread;

use crate::blocks::{BlockCache, BlockOptions, Cancel, Origin, OriginResult, ReadOptions, Version};
use crate::shuttle_tests::check;
use crate::sync::{AtomicU64, Condvar, Mutex, Ordering};
use crate::{Cache, ErrorKind, Options};

const BLOCK: u64 = 4 << 10;

/// Two blocks of one byte, which changes without a new version.
#[derive(Default)]
struct Store {
    byte: AtomicU64,
    reads: AtomicU64,
    gate: Mutex<Gate>,
    moved: Condvar,
}

/// The next so many reads stand here, until it is opened.
#[derive(Default)]
struct Gate {
    stops: u64,
    standing: u64,
}

impl Store {
    fn stop_next(&self) {
        self.gate.lock().stops = 1;
    }

    fn until_one_stands(&self) {
        let mut gate = self.gate.lock();
        while gate.standing == 0 {
            gate = self.moved.wait(gate);
        }
    }

    fn open_gate(&self) {
        *self.gate.lock() = Gate::default();
        self.moved.notify_all();
    }

    fn pass(&self) {
        let mut gate = self.gate.lock();
        if gate.stops == 0 {
            return;
        }
        (gate.stops, gate.standing) = (0, 1);
        self.moved.notify_all();
        while gate.standing > 0 {
            gate = self.moved.wait(gate);
        }
    }

    fn now(&self) -> u8 {
        u8::try_from(self.byte.load(Ordering::SeqCst)).expect("small")
    }
}

impl Origin for Store {
    fn identity(&self) -> String {
        "store".into()
    }
    fn version(&self, _: &str) -> OriginResult<Version> {
        Ok("v".into())
    }
    fn len(&self, _: &str) -> OriginResult<u64> {
        Ok(2 * BLOCK)
    }
    fn read_at(
        &self,
        _: &str,
        _: &Version,
        _: u64,
        buf: &mut [u8],
        _: &ReadOptions,
    ) -> OriginResult<usize> {
        self.pass();
        self.reads
            .fetch_add(buf.len() as u64 / BLOCK, Ordering::SeqCst);
        buf.fill(self.now());
        Ok(buf.len())
    }
}

fn blocks(fs: &SimFs, threads: usize) -> (BlockCache, Arc<Store>) {
    let options = Options::new()
        .capacity_bytes(512 << 10)
        .segment_bytes(32 << 10)
        .tail_bytes(32 << 10)
        .memory_tier_bytes(0)
        .index_shards(1)
        .background(false);
    let cache = Cache::open_with(Arc::new(fs.clone()), "/cache", options).expect("it opens");
    let store = Arc::new(Store::default());
    let options = BlockOptions::new()
        .block_bytes(BLOCK)
        .fetch_threads(threads)
        .readahead_blocks(0);
    let blocks = BlockCache::new(cache, Arc::clone(&store), options).expect("good options");
    (blocks, store)
}

/// B1 to B3: readers of the same blocks, with and without a thread that fetches for them.
#[test]
fn shuttle_a_block_is_fetched_once_however_many_read() {
    for threads in [0, 1] {
        check(500, move || {
            let (blocks, store) = blocks(&SimFs::new(1), threads);
            let ranges = [0..2 * BLOCK, BLOCK - 1..BLOCK + 1, BLOCK..2 * BLOCK];
            let readers = ranges.map(|range| {
                let blocks = blocks.clone();
                thread::spawn(move || {
                    let read = blocks.read("object", range.clone(), &ReadOptions::new());
                    assert_eq!(
                        read.expect("it reads").len() as u64,
                        range.end - range.start
                    );
                })
            });
            for reader in readers {
                reader.join().expect("no panic");
            }
            assert_eq!(store.reads.load(Ordering::SeqCst), 2);
            assert_eq!(blocks.stats().failed_fills, 0);
        });
    }
}

/// B1, B2: whoever is cancelled when, the others have what they wait for, and nothing is left.
#[test]
fn shuttle_a_cancelled_reader_is_in_nobodys_way() {
    for threads in [0, 1] {
        check(500, move || {
            let (blocks, _) = blocks(&SimFs::new(1), threads);
            let cancel = Cancel::new();
            let (face, options) = (blocks.clone(), ReadOptions::new().cancel(&cancel));
            let first = thread::spawn(move || face.read("object", 0..10, &options));
            let face = blocks.clone();
            let second = thread::spawn(move || face.read("object", 0..10, &ReadOptions::new()));
            cancel.cancel();
            let first = first.join().expect("no panic");
            assert!(first.is_ok() || first.is_err_and(|e| e.kind() == ErrorKind::Cancelled));
            second.join().expect("no panic").expect("it reads");
            let shared = Arc::downgrade(&blocks.shared);
            drop(blocks);
            assert!(shared.upgrade().is_none(), "a thread is left");
        });
    }
}

/// B2: a reader that has left, and the call that it waited for, are in nobody's way; neither is one that leaves meanwhile.
#[test]
fn shuttle_what_the_last_reader_left_holds_nobody_up() {
    for together in [false, true] {
        check(500, move || {
            let (blocks, store) = blocks(&SimFs::new(1), 2);
            store.stop_next();
            let cancel = Cancel::new();
            let (face, options) = (blocks.clone(), ReadOptions::new().cancel(&cancel));
            let first = thread::spawn(move || face.read("object", 0..2 * BLOCK, &options));
            let read = |blocks: &BlockCache| blocks.read("object", 5..10, &ReadOptions::new());
            store.until_one_stands();
            let face = blocks.clone();
            let second = together.then(|| thread::spawn(move || read(&face)));
            cancel.cancel();
            let first = first.join().expect("no panic");
            assert!(first.is_err_and(|e| e.kind() == ErrorKind::Cancelled));
            if second.is_none() {
                assert_eq!(read(&blocks).expect("it reads"), [0; 5]);
            }
            store.open_gate();
            if let Some(second) = second {
                let read = second.join().expect("no panic");
                assert_eq!(read.expect("it reads"), [0; 5]);
            }
            let flights = Arc::clone(&blocks.shared.flights);
            drop(blocks);
            assert_eq!(flights.len(), 0);
        });
    }
}

/// B3: of two readers of one fetch one may want nothing kept: the block is, whoever began it and whenever the other joined.
#[test]
fn shuttle_what_one_of_them_wants_kept_is_kept() {
    check(500, || {
        let (blocks, store) = blocks(&SimFs::new(1), 1);
        let readers = [false, true].map(|populate| {
            let (face, options) = (blocks.clone(), ReadOptions::new().populate(populate));
            thread::spawn(move || face.read("object", 0..10, &options))
        });
        for reader in readers {
            let read = reader.join().expect("no panic");
            assert_eq!(read.expect("it reads"), [0; 10]);
        }
        let cache = blocks.cache().clone();
        drop(blocks);
        let reads = store.reads.load(Ordering::SeqCst);
        let options = BlockOptions::new().block_bytes(BLOCK).fetch_threads(0);
        let after = BlockCache::new(cache, Arc::clone(&store), options).expect("good options");
        let read = after.read("object", 0..10, &ReadOptions::new());
        assert_eq!(read.expect("it reads"), [0; 10]);
        assert_eq!(store.reads.load(Ordering::SeqCst), reads);
    });
}

/// B4: what an invalidate comes after is gone, whoever was reading meanwhile; also when the process is killed then.
#[test]
fn shuttle_nothing_from_before_an_invalidate_is_served() {
    check(500, || {
        let fs = SimFs::new(1);
        let (blocks, store) = blocks(&fs, 1);
        let face = blocks.clone();
        let reader = thread::spawn(move || face.read("object", 0..10, &ReadOptions::new()));
        let read = blocks.read("object", 0..10, &ReadOptions::new());
        assert!(read.is_ok());
        store.byte.store(1, Ordering::SeqCst);
        blocks.invalidate("object").expect("it is invalidated");
        let read = blocks.read("object", 0..10, &ReadOptions::new());
        assert_eq!(read.expect("it reads"), [1; 10]);
        let early = reader.join().expect("no panic");
        assert_eq!(early.map_err(|e| e.kind()).err(), None::<ErrorKind>);
        let (after, later) = self::blocks(&fs.process_crash(), 0);
        later.byte.store(1, Ordering::SeqCst);
        let read = after.read("object", 0..10, &ReadOptions::new());
        assert_eq!(read.expect("it reads"), [1; 10]);
    });
}
