//! A table taken out of readers' sight and freed while one of them may still look at it: a model of the cache's
//! `index/readers.rs` and `tables.rs`, which lie above this crate. Two places stand for two tables, a number for the pointer;
//! to free a table is to write to its place, which loom reports if a reader is not known to have left it.
//!
//! The fence that the publisher makes in every thread (`membarrier`) is one in the reader here, between its `inside` and its
//! load of the pointer, and one in the publisher, between its change and its look at `inside`: wherever in the reader
//! the system makes it, it is either behind `inside`, and the publisher sees that, or before the load, which then sees the
//! change. Leaving out either breaks the model. When readers begin to rely on it is a model of its own, in which a
//! reader who does makes no fence at all, and a publisher who would make it for all stops.

use std::sync::Arc;

use loom::sync::atomic::fence;
use loom::thread;

use super::{Place, Reached, check};
use crate::sync::{AtomicU64, Mutex, Ordering};

/// What is in a table until it is freed.
const TABLES: [u64; 2] = [20, 21];
const FREED: u64 = 0;

/// What the models may weaken.
#[derive(Clone, Copy)]
struct Rules {
    reader_fence: bool,
    publisher_fence: bool,
    enter: Ordering,
    leave: Ordering,
    /// The publisher's looks at `inside`.
    look: Ordering,
    /// A table is kept while the reader has the value that it had at the change.
    held: bool,
    /// Readers are told that their fences are spared between two publications.
    told_between: bool,
}

const REAL: Rules = Rules {
    reader_fence: true,
    publisher_fence: true,
    enter: Ordering::Release,
    leave: Ordering::Release,
    look: Ordering::Acquire,
    held: true,
    told_between: true,
};

struct Tables {
    rules: Rules,
    inside: AtomicU64,
    pointer: AtomicU64,
    tables: [Place; 2],
    publishing: Mutex<()>,
    /// 1: the reader makes no fence.
    spared: AtomicU64,
}

impl Tables {
    fn new(rules: Rules) -> Arc<Self> {
        Arc::new(Self {
            rules,
            inside: AtomicU64::new(0),
            pointer: AtomicU64::new(0),
            tables: [Place::new(TABLES[0]), Place::new(FREED)],
            publishing: Mutex::new(()),
            spared: AtomicU64::new(0),
        })
    }

    /// Which table the reader found.
    fn read(&self) -> u64 {
        let before = self.inside.load(Ordering::Relaxed);
        let spared = self.spared.load(Ordering::Acquire) == 1;
        self.inside.store(before + 1, self.rules.enter);
        if self.rules.reader_fence && !spared {
            fence(Ordering::SeqCst);
        }
        let which = self.pointer.load(Ordering::Acquire);
        let at = crate::to_usize(which);
        assert_eq!(self.tables[at].read(), TABLES[at], "a table that was freed");
        self.inside.store(before + 2, self.rules.leave);
        which
    }

    /// Shows readers the second table. `None`: it would be the publisher who makes their fences.
    fn publish(&self) -> Option<u64> {
        let _one = self.publishing.lock();
        self.tables[1].write(TABLES[1]);
        self.pointer.swap(1, Ordering::AcqRel);
        if self.rules.publisher_fence {
            fence(Ordering::SeqCst);
        }
        if self.spared.load(Ordering::Relaxed) == 1 {
            return None;
        }
        Some(self.inside.load(self.rules.look))
    }

    fn free(&self) {
        self.tables[0].write(FREED);
    }

    /// True if the first table could be freed now, with a reader whose value at the change was `seen`.
    fn free_left(&self, seen: u64) -> bool {
        let left = !self.rules.held || seen % 2 == 0 || self.inside.load(self.rules.look) != seen;
        if left {
            self.free();
        }
        left
    }

    fn spare_fences(&self) {
        let between = self.rules.told_between.then(|| self.publishing.lock());
        self.spared.store(1, Ordering::Release);
        drop(between);
    }
}

#[derive(Clone, Default)]
struct Outcomes {
    old: Arc<Reached>,
    new: Arc<Reached>,
    at_once: Arc<Reached>,
    later: Arc<Reached>,
    kept: Arc<Reached>,
}

fn run(rules: Rules) {
    let outcomes = Outcomes::default();
    let seen = outcomes.clone();
    check(move || {
        let tables = Tables::new(rules);
        let reader = {
            let (tables, seen) = (Arc::clone(&tables), seen.clone());
            thread::spawn(move || {
                // Twice: the second time begins behind the first, which must have been left.
                for _ in 0..2 {
                    match tables.read() {
                        0 => seen.old.count(),
                        _ => seen.new.count(),
                    }
                }
            })
        };
        let inside = tables.publish().expect("nobody is spared a fence");
        match (inside % 2, tables.free_left(inside)) {
            (0, _) => seen.at_once.count(),
            (_, true) => seen.later.count(),
            (_, false) => seen.kept.count(),
        }
        reader.join().expect("no panic");
    });
    outcomes.old.assert("the reader finds the old table");
    outcomes.new.assert("the reader finds the new table");
    outcomes.at_once.assert("nobody is inside");
    outcomes.later.assert("the reader has left meanwhile");
    outcomes.kept.assert("the reader is still inside");
}

#[test]
fn loom_a_table_is_freed_behind_its_last_reader() {
    run(REAL);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn weakened_loom_no_fence_in_the_reader() {
    let reader_fence = false;
    run(Rules {
        reader_fence,
        ..REAL
    });
}

#[test]
#[should_panic(expected = "Causality violation")]
fn weakened_loom_no_fence_in_the_publisher() {
    let publisher_fence = false;
    run(Rules {
        publisher_fence,
        ..REAL
    });
}

#[test]
#[should_panic(expected = "Causality violation")]
fn weakened_loom_a_table_freed_at_once() {
    let held = false;
    run(Rules { held, ..REAL });
}

#[test]
#[should_panic(expected = "Causality violation")]
fn weakened_loom_a_reader_leaves_relaxed() {
    let leave = Ordering::Relaxed;
    run(Rules { leave, ..REAL });
}

/// Who finds it inside anew must know that it has left.
#[test]
#[should_panic(expected = "Causality violation")]
fn weakened_loom_a_reader_enters_relaxed() {
    let enter = Ordering::Relaxed;
    run(Rules { enter, ..REAL });
}

#[test]
#[should_panic(expected = "Causality violation")]
fn weakened_loom_the_publisher_looks_relaxed() {
    let look = Ordering::Relaxed;
    run(Rules { look, ..REAL });
}

/// A reader who is told that its fence is spared, a publisher who was not told.
fn run_told(rules: Rules) {
    let reached = Arc::new(Reached::default());
    let seen = Arc::clone(&reached);
    check(move || {
        let tables = Tables::new(rules);
        let reader = {
            let tables = Arc::clone(&tables);
            thread::spawn(move || tables.read())
        };
        let teller = {
            let tables = Arc::clone(&tables);
            thread::spawn(move || tables.spare_fences())
        };
        if let Some(inside) = tables.publish() {
            tables.free_left(inside);
            seen.count();
        }
        reader.join().expect("no panic");
        teller.join().expect("no panic");
    });
    reached.assert("the publisher relies on the reader's fence");
}

#[test]
fn loom_a_reader_relies_on_a_publisher_who_knows() {
    run_told(REAL);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn weakened_loom_a_reader_is_told_in_the_middle_of_a_publication() {
    let told_between = false;
    run_told(Rules {
        told_between,
        ..REAL
    });
}
