//! Waiting for several things at once: flights, and being cancelled.

use std::fmt;
use std::sync::{Arc, Weak};
use std::task::Waker;

use crate::sync::{AtomicBool, Condvar, Mutex, Ordering};

/// Where one thread, or one task, sleeps. Whoever has something for it wakes it; it looks itself what that is.
#[derive(Debug, Default)]
pub(super) struct Parker {
    woken: Mutex<bool>,
    wake: Condvar,
    task: Mutex<Option<Waker>>,
}

impl Parker {
    /// Returns once somebody has woken it since it last returned.
    pub(super) fn park(&self) {
        let mut woken = self.woken.lock();
        while !*woken {
            woken = self.wake.wait(woken);
        }
        *woken = false;
    }

    pub(super) fn unpark(&self) {
        *self.woken.lock() = true;
        self.wake.notify_one();
        let task = self.task.lock().take();
        if let Some(task) = task {
            task.wake();
        }
    }

    /// From now on this task is woken, too, once: it looks after this call, and calls again before it sleeps again.
    #[cfg(feature = "tokio")]
    pub(super) fn wakes(&self, task: &Waker) {
        let task = task.clone();
        // What it was before goes outside of the lock: with it a task may end.
        let _before = self.task.lock().replace(task);
    }
}

/// Ends reads before they are done: each that was given it answers [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled), at
/// once where it waits, for good. Clones are the same.
#[derive(Clone, Default)]
pub struct Cancel(Arc<Cancelling>);

#[derive(Default)]
struct Cancelling {
    cancelled: AtomicBool,
    parked: Mutex<Vec<Weak<Parker>>>,
}

impl Cancel {
    /// Nothing is cancelled yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancels. Reads of blocks that are there may be served all the same.
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::Release);
        // Who registers later takes the same lock, and sees the word above.
        // They are woken outside of the lock: a task that ends by that takes it.
        let parked: Vec<_> = self
            .0
            .parked
            .lock()
            .iter()
            .filter_map(Weak::upgrade)
            .collect();
        parked.iter().for_each(|parker| parker.unpark());
    }

    /// True once it was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::Acquire)
    }

    /// From now on `parker` is woken by it.
    pub(super) fn wakes(&self, parker: &Arc<Parker>) -> Wakes<'_> {
        self.0.parked.lock().push(Arc::downgrade(parker));
        Wakes {
            cancel: self,
            parker: Arc::downgrade(parker),
        }
    }
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cancel").field(&self.is_cancelled()).finish()
    }
}

/// As long as it lives a [`Cancel`] wakes a thread.
pub(super) struct Wakes<'a> {
    cancel: &'a Cancel,
    parker: Weak<Parker>,
}

impl Drop for Wakes<'_> {
    fn drop(&mut self) {
        let mut parked = self.cancel.0.parked.lock();
        parked.retain(|parker| !parker.ptr_eq(&self.parker));
    }
}
