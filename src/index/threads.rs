//! A small number for every thread that reads, given back when the thread ends.
//!
//! What readers write is found by it, so that each writes on lines of its own. Numbers are used again, the smallest first:
//! however many threads come and go, there are about as many as run at a time.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use crate::sync::thread_local;

thread_local! {
    /// Beside the lease, because it is never torn down: asking for it asks for nothing else.
    static NUMBER: Cell<usize> = const { Cell::new(NONE) };
    static LEASE: Lease = Lease::new();
}

const NONE: usize = usize::MAX;

/// The system's lock in tests of schedules, too: a thread's end is no step of one.
static POOL: Mutex<Pool> = Mutex::new(Pool {
    next: 0,
    free: BTreeSet::new(),
});

struct Pool {
    next: usize,
    free: BTreeSet<usize>,
}

/// The number of this thread, which no other has until this one ends. `None`: it is ending, and has given it back.
#[inline]
pub(super) fn number() -> Option<usize> {
    match NUMBER.try_with(Cell::get) {
        Ok(NONE) | Err(_) => first_time(),
        Ok(number) => Some(number),
    }
}

#[cold]
fn first_time() -> Option<usize> {
    let number = LEASE.try_with(|lease| lease.0).ok()?;
    NUMBER.try_with(|own| own.set(number)).ok()?;
    Some(number)
}

/// The lock orders what the last owner of a number wrote before what its next one does.
fn pool<R>(with: impl FnOnce(&mut Pool) -> R) -> R {
    with(&mut POOL.lock().unwrap_or_else(PoisonError::into_inner))
}

struct Lease(usize);

impl Lease {
    fn new() -> Self {
        Self(pool(|pool| {
            pool.free.pop_first().unwrap_or_else(|| {
                pool.next += 1;
                pool.next - 1
            })
        }))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // First: from here on this thread has none, whatever else of it is torn down later.
        let _ = NUMBER.try_with(|own| own.set(NONE));
        pool(|pool| pool.free.insert(self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_threads_have_one_number_at_a_time() {
        let own = number().unwrap();
        std::thread::scope(|scope| {
            let other = scope.spawn(number).join().unwrap().unwrap();
            assert_ne!(own, other);
        });
        assert_eq!(number(), Some(own));
    }

    /// A lookup from what another part of the thread's end does finds no number, and does not panic.
    #[test]
    fn a_thread_that_ends_has_none() {
        struct Asks(std::sync::mpsc::Sender<Option<usize>>);
        impl Drop for Asks {
            fn drop(&mut self) {
                let _ = self.0.send(number());
            }
        }
        std::thread_local! {
            static ASKS: Cell<Option<Asks>> = const { Cell::new(None) };
        }
        let (send, receive) = std::sync::mpsc::channel();
        let asks = move || {
            // Torn down in the opposite order: the number first.
            ASKS.set(Some(Asks(send)));
            assert!(number().is_some());
        };
        std::thread::scope(|scope| drop(scope.spawn(asks).join()));
        assert_eq!(receive.recv(), Ok(None));
    }
}
