//! A place of the ring used again while a reader may still be in it: a model of `Tail::read`, `advance`, `drive` and
//! `window_end`. crossbeam-epoch itself is too large for loom, so [`Epoch`] is its pin, its tag of a deferred closure and
//! its advance in two steps, fence by fence, without lists and collectors.
//!
//! What decides is that the reader's load of the floor lies behind its pin's fence, and the tag of the deferral behind
//! the raised floor: one of the two sees the other. The floor's own `SeqCst` is not what carries it: loom takes `SeqCst`
//! accesses for `AcqRel` (it knows `SeqCst` fences), and the model also holds with a relaxed floor, which is a test
//! below. The stronger ordering stays in `tail.rs`, where it costs a reader nothing, so that the proof does not rest on
//! fences inside another crate alone. Each other weakening is a test that expects the model to break.

use std::sync::Arc;

use loom::sync::atomic::fence;
use loom::thread;

use super::{Place, Reached, check_bounded};
use crate::sync::{AtomicU64, Ordering};

/// The frame at LSN 0 and the one at LSN 1 lie in one place: a ring of one byte.
const RING: u64 = 1;
const OLD: u64 = 10;
const NEW: u64 = 11;

/// What the models may weaken.
#[derive(Clone, Copy)]
struct Rules {
    floor: Ordering,
    /// The fence in `pin`.
    pin_fence: bool,
    /// The fence before a deferred closure gets its tag.
    tag_fence: bool,
    /// The release waits until those who were pinned have left.
    deferred: bool,
    /// The reader asks for the floor while it is pinned, and not before.
    floor_when_pinned: bool,
    /// The store and load of `released`.
    release: Ordering,
    /// The reader's unpinning.
    unpin: Ordering,
}

const REAL: Rules = Rules {
    floor: Ordering::SeqCst,
    pin_fence: true,
    tag_fence: true,
    deferred: true,
    floor_when_pinned: true,
    release: Ordering::Release,
    unpin: Ordering::Release,
};

/// crossbeam-epoch with one participant who pins.
struct Epoch {
    global: AtomicU64,
    /// Twice the epoch it is pinned in, plus one; 0 = not pinned.
    local: AtomicU64,
}

impl Epoch {
    fn pin(&self, rules: Rules) {
        let global = self.global.load(Ordering::Relaxed);
        self.local.store(global * 2 + 1, Ordering::Relaxed);
        if rules.pin_fence {
            fence(Ordering::SeqCst);
        }
    }

    fn unpin(&self, rules: Rules) {
        self.local.store(0, rules.unpin);
    }

    /// The epoch that a closure deferred now is tagged with.
    fn tag(&self, rules: Rules) -> u64 {
        if rules.tag_fence {
            fence(Ordering::SeqCst);
        }
        self.global.load(Ordering::Relaxed)
    }

    /// The next epoch, unless somebody is still pinned in the one before.
    fn try_advance(&self) -> u64 {
        let global = self.global.load(Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let local = self.local.load(Ordering::Relaxed);
        if local & 1 == 1 && local / 2 != global {
            return global;
        }
        fence(Ordering::Acquire);
        // crossbeam stores: whoever advances is pinned, so none can be late by two. Here nobody but the reader pins.
        let advanced =
            self.global
                .compare_exchange(global, global + 1, Ordering::Release, Ordering::Relaxed);
        advanced.map_or(global, |_| global + 1)
    }
}

struct Tail {
    epoch: Epoch,
    floor: AtomicU64,
    released: AtomicU64,
    ready: AtomicU64,
    bytes: Place,
}

impl Tail {
    /// A ring whose place holds the frame at LSN 0, finished before anybody came.
    fn new() -> Arc<Self> {
        Arc::new(Self {
            epoch: Epoch {
                global: AtomicU64::new(1),
                local: AtomicU64::new(0),
            },
            floor: AtomicU64::new(0),
            released: AtomicU64::new(0),
            ready: AtomicU64::new(OLD),
            bytes: Place::new(OLD),
        })
    }

    /// The frame at LSN 0; `None`: gone, it is in its segment.
    fn read(&self, rules: Rules) -> Option<u64> {
        let early = self.floor.load(rules_load(rules.floor));
        self.epoch.pin(rules);
        let floor = if rules.floor_when_pinned {
            self.floor.load(rules_load(rules.floor))
        } else {
            early
        };
        let read = (floor == 0).then(|| {
            assert_eq!(
                self.ready.load(Ordering::Acquire),
                OLD,
                "another's ready word"
            );
            self.bytes.read()
        });
        self.epoch.unpin(rules);
        read
    }

    /// LSN 0 is stable: the floor passes it, and the place is released once its readers have left.
    fn advance(&self, rules: Rules) {
        self.floor.fetch_max(1, rules.floor);
        if !rules.deferred {
            self.released.store(1, rules.release);
            return;
        }
        let tag = self.epoch.tag(rules);
        for _ in 0..2 {
            if self.epoch.try_advance() - tag >= 2 {
                self.released.store(1, rules.release);
            }
        }
    }

    /// Writes the frame at LSN 1, if the window has come so far.
    fn write(&self, rules: Rules) -> bool {
        let released = self.released.load(rules_load(rules.release));
        let lsn = 1;
        if lsn + 1 > released + RING {
            return false;
        }
        self.ready.store(0, Ordering::Relaxed);
        self.bytes.write(NEW);
        self.ready.store(NEW, Ordering::Release);
        true
    }
}

/// The load that goes with a store.
fn rules_load(store: Ordering) -> Ordering {
    match store {
        Ordering::Release => Ordering::Acquire,
        other => other,
    }
}

fn run(rules: Rules) {
    run_with(rules, false);
}

/// With `elsewhere`, another thread, which retires something else, advances the epoch too. Four threads at three
/// preemptions take ten times as long and find no more.
fn run_with(rules: Rules, elsewhere: bool) {
    let [read, gone, reused] = [(); 3].map(|()| Arc::new(Reached::default()));
    let counts = (Arc::clone(&read), Arc::clone(&gone), Arc::clone(&reused));
    check_bounded(if elsewhere { 2 } else { 3 }, move || {
        let tail = Tail::new();
        let reader = {
            let (tail, read, gone) = (
                Arc::clone(&tail),
                Arc::clone(&counts.0),
                Arc::clone(&counts.1),
            );
            thread::spawn(move || match tail.read(rules) {
                Some(bytes) => {
                    assert_eq!(bytes, OLD, "another frame's bytes");
                    read.count();
                }
                None => gone.count(),
            })
        };
        let flusher = {
            let tail = Arc::clone(&tail);
            thread::spawn(move || tail.advance(rules))
        };
        let other = elsewhere.then(|| {
            let tail = Arc::clone(&tail);
            thread::spawn(move || {
                tail.epoch.try_advance();
            })
        });
        if tail.write(rules) {
            counts.2.count();
        }
        if let Some(other) = other {
            other.join().expect("the thread ends well");
        }
        flusher.join().expect("the thread ends well");
        reader.join().expect("the thread ends well");
    });
    read.assert("the reader reads the ring");
    gone.assert("the reader finds the frame gone");
    reused.assert("the writer uses the place again");
}

#[test]
fn evict_during_read_a_reader_sees_its_frame_whole_or_that_it_is_gone() {
    run(REAL);
}

#[test]
fn evict_during_read_so_does_one_who_meets_other_threads_epochs() {
    run_with(REAL, true);
}

#[test]
fn the_fences_carry_it_and_not_the_floors_own_ordering() {
    let floor = Ordering::Relaxed;
    run(Rules { floor, ..REAL });
}

#[test]
#[should_panic(expected = "Causality violation")]
fn weakened_no_fence_in_pin() {
    let pin_fence = false;
    run(Rules { pin_fence, ..REAL });
}

/// The tag may be older than the epoch a reader is pinned in, which another thread has begun.
#[test]
#[should_panic(expected = "Causality violation")]
fn weakened_no_fence_before_the_tag() {
    let tag_fence = false;
    run_with(Rules { tag_fence, ..REAL }, true);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn weakened_released_at_once() {
    let deferred = false;
    run(Rules { deferred, ..REAL });
}

#[test]
#[should_panic(expected = "Causality violation")]
fn weakened_the_floor_read_before_the_pin() {
    let floor_when_pinned = false;
    run(Rules {
        floor_when_pinned,
        ..REAL
    });
}

#[test]
#[should_panic(expected = "Causality violation")]
fn weakened_the_release_relaxed() {
    let release = Ordering::Relaxed;
    run(Rules { release, ..REAL });
}

#[test]
#[should_panic(expected = "Causality violation")]
fn weakened_the_unpin_relaxed() {
    let unpin = Ordering::Relaxed;
    run(Rules { unpin, ..REAL });
}
