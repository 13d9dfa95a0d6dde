//! A frame's ready word over the last lap's bytes: a model of `Reservation::new`, `publish_ready` and `Tail::read`, with
//! the index's slot as an atomic. The orderings are those of `reservation.rs`, `tail.rs` and the index.

use std::sync::Arc;

use loom::thread;

use super::{Place, Reached, check};
use crate::sync::{AtomicU64, Ordering};

/// The last lap's bytes: they look ready and are not this frame's.
const LAST_LAP: u64 = 7;
const FRAME: u64 = 8;
const ADDRESS: u64 = 1;

/// What the models may weaken.
#[derive(Clone, Copy)]
struct Rules {
    /// The reserver clears the ready word before the address can be known.
    clear: bool,
    /// The store of the finished frame's ready word.
    finish: Ordering,
    /// The store of the address.
    publish: Ordering,
    /// The reader's load of the ready word.
    look: Ordering,
}

const REAL: Rules = Rules {
    clear: true,
    finish: Ordering::Release,
    publish: Ordering::Release,
    look: Ordering::Acquire,
};

struct Frame {
    address: AtomicU64,
    ready: AtomicU64,
    bytes: Place,
}

impl Frame {
    fn write(&self, rules: Rules) {
        if rules.clear {
            self.ready.store(0, Ordering::Relaxed);
        }
        self.address.store(ADDRESS, rules.publish);
        self.bytes.write(FRAME);
        self.ready.store(FRAME, rules.finish);
    }

    /// `None`: not in the index yet, or pending.
    fn read(&self, rules: Rules) -> Option<u64> {
        if self.address.load(Ordering::Acquire) != ADDRESS || self.ready.load(rules.look) == 0 {
            return None;
        }
        Some(self.bytes.read())
    }
}

fn run(rules: Rules) {
    let (pending, whole) = (Arc::new(Reached::default()), Arc::new(Reached::default()));
    let counts = (Arc::clone(&pending), Arc::clone(&whole));
    check(move || {
        let frame = Arc::new(Frame {
            address: AtomicU64::new(0),
            ready: AtomicU64::new(LAST_LAP),
            bytes: Place::new(LAST_LAP),
        });
        let writer = {
            let frame = Arc::clone(&frame);
            thread::spawn(move || frame.write(rules))
        };
        for _ in 0..2 {
            match frame.read(rules) {
                None => counts.0.count(),
                Some(bytes) => {
                    assert_eq!(bytes, FRAME, "the last lap's bytes");
                    counts.1.count();
                }
            }
        }
        writer.join().expect("the thread ends well");
        assert_eq!(frame.read(rules), Some(FRAME));
    });
    pending.assert("a reader finds nothing or a pending frame");
    whole.assert("a reader finds the frame");
}

#[test]
fn a_reader_sees_the_whole_frame_or_that_it_is_pending() {
    run(REAL);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn weakened_without_clearing() {
    run(Rules {
        clear: false,
        ..REAL
    });
}

#[test]
#[should_panic(expected = "Causality violation")]
fn weakened_the_finishing_store_relaxed() {
    let finish = Ordering::Relaxed;
    run(Rules { finish, ..REAL });
}

/// The clearing is ordered before nothing then: the reader may still see the last lap's word.
#[test]
#[should_panic(expected = "Causality violation")]
fn weakened_the_address_relaxed() {
    let publish = Ordering::Relaxed;
    run(Rules { publish, ..REAL });
}

#[test]
#[should_panic(expected = "Causality violation")]
fn weakened_the_reader_relaxed() {
    let look = Ordering::Relaxed;
    run(Rules { look, ..REAL });
}
