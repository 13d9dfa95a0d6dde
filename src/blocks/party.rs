//! What one call of the origin brings: flights that begin together, and are given up together (B2).
//!
//! ```text
//!   begun ─► the last who waits for any of them leaves ─► out of the registry ─► the call is told, and may end early
//! ```

use std::sync::{Arc, Weak};

use crate::blocks::flights::Flight;
use crate::blocks::registry::{ByKey, Claim, Key};
#[cfg(feature = "tokio")]
use crate::sync::Mutex;
use crate::sync::{AtomicBool, AtomicUsize, Ordering};

#[derive(Debug)]
pub(super) struct Party<T> {
    flights: Vec<(Key, Weak<Flight<T>>)>,
    /// Of these, flights that somebody waits for. It changes under the registry's lock alone.
    waited_for: AtomicUsize,
    left: Arc<Left>,
}

impl<T: Clone> Party<T> {
    pub(super) fn new(claims: &[Claim<T>], waited_for: usize) -> Arc<Self> {
        let flight = |claim: &Claim<T>| (Arc::clone(&claim.key), Arc::downgrade(&claim.flight));
        Arc::new(Self {
            flights: claims.iter().map(flight).collect(),
            waited_for: AtomicUsize::new(waited_for),
            left: Arc::default(),
        })
    }

    /// Somebody waits for one of them that nobody waited for.
    pub(super) fn is_joined(&self) {
        self.waited_for.fetch_add(1, Ordering::Relaxed);
    }

    /// Nobody waits for one of them any more. True: nor for another.
    pub(super) fn is_left(&self) -> bool {
        self.waited_for.fetch_sub(1, Ordering::Relaxed) == 1
    }

    /// Nobody joins any of them.
    pub(super) fn unregister(&self, flights: &mut ByKey<T>) {
        for (key, flight) in &self.flights {
            // Another may have taken its place.
            let registered = flights.get(key).map(Arc::as_ptr);
            if registered == Some(flight.as_ptr()) {
                flights.remove(key);
            }
        }
    }

    pub(super) fn left(&self) -> Arc<Left> {
        Arc::clone(&self.left)
    }
}

/// Whether nobody waits any more for what a call of the origin will bring.
#[derive(Debug, Default)]
pub(super) struct Left {
    is_so: AtomicBool,
    #[cfg(feature = "tokio")]
    call: Mutex<Option<std::task::Waker>>,
}

impl Left {
    pub(super) fn is_so(&self) -> bool {
        self.is_so.load(Ordering::Acquire)
    }

    pub(super) fn tell(&self) {
        self.is_so.store(true, Ordering::Release);
        #[cfg(feature = "tokio")]
        if let Some(call) = { self.call.lock().take() } {
            call.wake();
        }
    }

    /// For the future that calls: it is woken when it is so, if it is not yet.
    #[cfg(feature = "tokio")]
    pub(super) fn is_so_or_wakes(&self, call: &std::task::Waker) -> bool {
        // Before the look: who tells after it wakes.
        let _before = self.call.lock().replace(call.clone());
        self.is_so()
    }
}
