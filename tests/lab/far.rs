//! Large values whose reference lies segments behind them: others write between the two, as much as they like.
//!
//! ```text
//!   put of a large value: extent ── fillers, segments of them ── a segment is reclaimed, the extent's, perhaps ── reference
//! ```
//! All of it happens on one thread, for the lab: the site between the two calls back. Without the feature `failpoints` there
//! is none, so these are run by `just sites`.

use std::cell::RefCell;
use std::sync::{Arc, Once};

use perennial::{Cache, Eviction, InsertOptions, Priority};
use perennial_failpoints::lab::{Driver, Keeps, Step, Store};
use perennial_failpoints::{Fs, sites};

use crate::driver::{CHECKPOINT, Open, Perennial, Undamaged, small};
use crate::random::Rng;
use crate::{Case, effort, random, run_all};

/// [`Store::other`]: behind the extent of the next put come as many segments of fillers, and one more than this says.
const FAR: u8 = 40;
/// [`Store::other`]: a segment of fillers.
const FILL: u8 = 90;
const FILLERS_IN_A_SEGMENT: u64 = 9;

thread_local! {
    /// What the put under way on this thread does between extent and reference.
    static BETWEEN: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        sites::watch(Some(Arc::new(|site| {
            if site == "write::large::written"
                && let Some(act) = BETWEEN.take()
            {
                act();
            }
        })));
    });
}

/// The cache. Keys 0 and 1 are pinned.
struct FarReferences(Eviction);

struct Far {
    open: Open,
    /// Segments of fillers for the next put, and how many fillers there were.
    next: RefCell<(u64, u64)>,
}

impl Driver for FarReferences {
    type Store = Far;

    fn open(&self, fs: Arc<dyn Fs>) -> Result<Far, String> {
        watch();
        let options = small(96 << 10).pinned_percent(35).eviction(self.0);
        Ok(Far {
            open: Undamaged(Perennial(options)).open(fs)?,
            next: RefCell::default(),
        })
    }
}

fn fill(cache: &Cache, from: u64, fillers: u64) {
    for n in from..from + fillers {
        let filled = cache.insert(format!("filler-{n}"), [7; 700]);
        filled.expect("a filler is stored");
    }
}

impl Store for Far {
    fn put(&self, key: &[u8], value: &[u8], durable: bool) -> Result<(), String> {
        let (segments, from) = *self.next.borrow();
        let fillers = segments * FILLERS_IN_A_SEGMENT;
        *self.next.borrow_mut() = (0, from + fillers);
        if fillers > 0 {
            let cache = self.open.0.clone();
            BETWEEN.set(Some(Box::new(move || fill(&cache, from, fillers))));
        }
        let priority = match key.last() {
            Some(b'0' | b'1') => Priority::Pinned,
            _ => Priority::Normal,
        };
        let how = InsertOptions::new().priority(priority).durable(durable);
        let inserted = self.open.0.insert_with(key, value, how);
        BETWEEN.set(None);
        // A pinned one may find no room: then it is gone, which is allowed where anything may be.
        inserted.map(drop).map_err(|e| e.to_string())
    }

    fn remove(&self, key: &[u8], durable: bool) -> Result<(), String> {
        self.open.remove(key, durable)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        self.open.get(key)
    }

    fn flush(&self) -> Result<(), String> {
        self.open.flush()
    }

    fn other(&self, what: u8) -> Result<(), String> {
        match what.checked_sub(FAR) {
            Some(_) if what == FILL => {
                let from = self.next.borrow().1;
                self.next.borrow_mut().1 += FILLERS_IN_A_SEGMENT;
                fill(&self.open.0, from, FILLERS_IN_A_SEGMENT);
                Ok(())
            }
            Some(segments) => {
                self.next.borrow_mut().0 = u64::from(segments) + 1;
                Ok(())
            }
            None => self.open.other(what),
        }
    }

    fn close(self) -> Result<(), String> {
        self.open.close()
    }
}

/// Two pinned keys whose values are stored anew, each as an extent with its reference so many segments behind: up to more
/// than the log has.
fn pinned() -> Vec<Case> {
    let script = |segments: u8| {
        let mut script = Vec::new();
        script.extend([Step::Other(FILL); 5]);
        for n in 0..2 {
            script.push(Step::Other(FAR + segments));
            script.push(Step::put(n, 2_000));
        }
        // Once round the log.
        script.extend([Step::Other(FILL); 12]);
        script
    };
    let case = |segments| {
        let script = script(segments);
        // Once with the reclaim of the values, once behind it.
        [0, 5].map(|left| Case {
            from: script.len() - left - 2,
            script: script[..script.len() - left].to_vec(),
        })
    };
    [0, 1, 2, 4, 15].into_iter().flat_map(case).collect()
}

const ALL: [Eviction; 3] = [Eviction::Fifo, Eviction::Clock, Eviction::S3Merge];

#[test]
fn what_is_pinned_is_there_however_far_its_reference_is() {
    for eviction in ALL {
        let options = random::options(Keeps::Everything);
        let name = format!("far, pinned, {eviction:?}");
        run_all(&name, &FarReferences(eviction), options, &pinned());
    }
}

fn step(rng: &mut Rng) -> Vec<Step> {
    let key = u8::try_from(rng.below(8)).expect("few keys");
    let len = u16::try_from(300 + rng.below(2_500)).expect("short values");
    match rng.below(30) {
        0..=2 => {
            let far = u8::try_from(rng.below(6)).expect("few");
            vec![Step::Other(FAR + far), Step::put(key, 1_500 + len)]
        }
        3..=14 => vec![Step::put(key, len)],
        15 => vec![Step::put(key, len).durable()],
        16..=17 => vec![Step::remove(key)],
        18 => vec![Step::Flush],
        19 => vec![Step::Other(CHECKPOINT)],
        20 => vec![Step::Reopen],
        _ => vec![Step::Get { key }],
    }
}

#[test]
fn references_anywhere_are_never_older() {
    for eviction in ALL {
        let case = |seed| {
            let mut rng = Rng(seed);
            let script: Vec<Step> = (0..120).flat_map(|_| step(&mut rng)).collect();
            Case {
                from: script.len() * 3 / 4,
                script,
            }
        };
        let cases: Vec<Case> = (0..3 * effort()).map(case).collect();
        let name = format!("far, {eviction:?}, {}", random::seeds(&cases));
        let options = random::options(Keeps::WhatItLikes);
        run_all(&name, &FarReferences(eviction), options, &cases);
    }
}
