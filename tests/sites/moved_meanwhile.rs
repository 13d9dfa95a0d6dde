//! 15 of the hard problems: whoever overwrites or removes an entry while it is being moved wins, whatever step that is at.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use perennial::{Cache, Eviction, Options};
use perennial_failpoints::{SimFs, sites};

use crate::ONE_AT_A_TIME;

/// The steps of a move.
const STEPS: [&str; 6] = [
    "packing::reclaim",
    "wal::segment::kept_header",
    "wal::segment::kept_write",
    "wal::segment::kept_sync",
    "packing::move_frame",
    "packing::moved",
];
const HOT: usize = 40;
/// Whoever needs the room that is being made is left to itself after this long, and is finished when there is some.
const PATIENCE: Duration = Duration::from_millis(200);

fn open(fs: &SimFs, eviction: Eviction) -> Cache {
    let options = Options::new()
        .capacity_bytes(128 << 10)
        .segment_bytes(8 << 10)
        .tail_bytes(16 << 10)
        .memory_tier_bytes(0)
        .index_shards(1)
        .eviction(eviction)
        .background(false);
    Cache::open_with(Arc::new(fs.clone()), "/cache", options).expect("the cache opens")
}

fn key(n: usize) -> String {
    format!("hot-{n}")
}

/// What was done last to each hot key; `None`: it was removed.
type Newest = BTreeMap<usize, Option<Vec<u8>>>;

/// Does something to one hot key after the other, whenever a move comes to `step`.
#[derive(Default)]
struct Meddler {
    newest: Mutex<Newest>,
    late: Mutex<Vec<thread::JoinHandle<()>>>,
    busy: AtomicBool,
    turns: Mutex<usize>,
}

impl Meddler {
    #[expect(clippy::disallowed_methods, reason = "a test's own thread")]
    fn meddle(&self, cache: &Cache, removes: bool) {
        if self.busy.swap(true, Ordering::SeqCst) {
            return;
        }
        let turn = {
            let mut turns = self.turns.lock().expect("nobody panicked");
            *turns += 1;
            *turns
        };
        let n = turn * 7 % HOT;
        let value = (!removes).then(|| format!("{} turn {turn}", key(n)).repeat(10).into_bytes());
        let (done, told) = channel();
        let mine = (cache.clone(), value.clone());
        let thread = thread::spawn(move || {
            let (cache, value) = mine;
            match value {
                Some(value) => cache.insert(key(n), value).map(drop),
                None => cache.remove(key(n)),
            }
            .expect("it is done");
            let _ = done.send(());
        });
        let in_time = told.recv_timeout(PATIENCE).is_ok();
        self.newest
            .lock()
            .expect("nobody panicked")
            .insert(n, value);
        self.late.lock().expect("nobody panicked").push(thread);
        // One that is late may still come after another of the same key: there is no other.
        if in_time {
            self.busy.store(false, Ordering::SeqCst);
        }
    }

    fn wait(&self) {
        let late = std::mem::take(&mut *self.late.lock().expect("nobody panicked"));
        late.into_iter()
            .for_each(|thread| thread.join().expect("it did what it was to do"));
        self.busy.store(false, Ordering::SeqCst);
    }

    /// A key that was meddled with shows what was done last, or is gone.
    fn check(&self, cache: &Cache, what: &str) -> usize {
        let newest = self.newest.lock().expect("nobody panicked");
        let mut there = 0;
        for (n, value) in &*newest {
            if let Some(found) = cache.get(key(*n)).expect("a read") {
                assert_eq!(Some(found.to_vec()), *value, "{what}: {}", key(*n));
                there += 1;
            }
        }
        there
    }
}

fn play(eviction: Eviction, step: &'static str, removes: bool) -> (usize, usize) {
    let fs = SimFs::new(1);
    let cache = open(&fs, eviction);
    let meddler = Arc::new(Meddler::default());
    for n in 0..HOT {
        cache.insert(key(n), [1; 300]).expect("an insert");
    }
    let (watched, watching) = (cache.clone(), Arc::clone(&meddler));
    sites::watch(Some(Arc::new(move |site| {
        if site == step {
            watching.meddle(&watched, removes);
        }
    })));
    for n in 0..600 {
        cache
            .insert(format!("cold-{n}"), [2; 400])
            .expect("an insert");
        meddler.wait();
        for hot in 0..HOT {
            cache.get(key(hot)).expect("a read");
        }
    }
    sites::watch(None);
    meddler.wait();
    let what = format!("{eviction:?}, {step}, removes {removes}");
    let there = meddler.check(&cache, &what);
    let killed = fs.process_crash();
    cache.flush().expect("a flush");
    let dark = fs.power_loss(1);
    meddler.check(&open(&killed, eviction), &format!("{what}, killed"));
    meddler.check(&open(&dark, eviction), &format!("{what}, power lost"));
    let turns = *meddler.turns.lock().expect("nobody panicked");
    (turns, there)
}

#[test]
fn minimal_15_compaction_against_a_concurrent_write_or_remove() {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    for eviction in [Eviction::S3Merge, Eviction::Clock] {
        for step in STEPS {
            let kept_only = step.starts_with("wal") || step.ends_with("frame");
            if eviction == Eviction::Clock && kept_only {
                continue;
            }
            let (turns, there) = play(eviction, step, false);
            assert!(
                turns > 1 && there > 1,
                "{eviction:?} {step}: {turns} {there}"
            );
            let (turns, there) = play(eviction, step, true);
            assert!(
                turns > 1 && there == 0,
                "{eviction:?} {step}: {turns} {there}"
            );
        }
    }
}
