//! Atomics, locks, condition variables and threads. Everything in this crate that two threads touch goes through here:
//! the log's, which are the standard library's and `parking_lot`'s, or shuttle's (`--cfg shuttle`). The models for loom
//! are all in the log.

pub(crate) use perennial_wal::sync::{
    AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Backoff, Condvar, JoinHandle, Mutex, MutexGuard,
    Ordering, RwLock, RwLockReadGuard, fence, sleep, spawn, thread_local, yield_now,
};
