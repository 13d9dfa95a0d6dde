//! Atomics, locks, condition variables and threads. Everything in this crate that two threads touch goes through here:
//! the standard library's and `parking_lot`'s, or shuttle's (`--cfg shuttle`). The models for loom are all in the log.

#[cfg(not(shuttle))]
pub(crate) use system::*;

#[cfg(shuttle)]
pub(crate) use perennial_wal::sync::{
    AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Condvar, JoinHandle, Mutex, MutexGuard,
    Ordering, RwLock, fence, spawn, yield_now,
};

#[cfg(not(shuttle))]
mod system {
    pub(crate) use parking_lot::{Mutex, MutexGuard, RwLock};
    pub(crate) use perennial_wal::spawn_thread as spawn;
    pub(crate) use std::sync::atomic::{
        AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
    };
    pub(crate) use std::thread::{JoinHandle, yield_now};

    /// A condition variable that takes and gives back the guard, as shuttle's does.
    #[derive(Debug, Default)]
    pub(crate) struct Condvar(parking_lot::Condvar);

    impl Condvar {
        pub(crate) fn wait<'a, T>(&self, mut guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
            self.0.wait(&mut guard);
            guard
        }

        pub(crate) fn notify_one(&self) {
            self.0.notify_one();
        }

        pub(crate) fn notify_all(&self) {
            self.0.notify_all();
        }
    }
}
