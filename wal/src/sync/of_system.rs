//! What runs in production. Public, for the crates above.

pub use crossbeam_utils::Backoff;
pub use parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard};
/// What closures of the epoch's touch: see shuttle's.
pub(crate) use std::sync::atomic::AtomicU64 as EpochU64;
pub use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
pub use std::thread::{JoinHandle, sleep, yield_now};
pub use std::thread_local;

/// A condition variable that takes and gives back the guard, as loom's and shuttle's do.
#[derive(Debug, Default)]
pub struct Condvar(parking_lot::Condvar);

impl Condvar {
    /// Waits for a notification.
    pub fn wait<'a, T>(&self, mut guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.0.wait(&mut guard);
        guard
    }

    /// Waits for a notification, no longer than `time`.
    pub fn wait_for<'a, T>(
        &self,
        mut guard: MutexGuard<'a, T>,
        time: std::time::Duration,
    ) -> MutexGuard<'a, T> {
        self.0.wait_for(&mut guard, time);
        guard
    }

    /// Wakes one who waits, if anybody does.
    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    /// Wakes all who wait.
    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}

/// A named thread.
///
/// # Errors
/// When the system has none to give.
pub fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
}
