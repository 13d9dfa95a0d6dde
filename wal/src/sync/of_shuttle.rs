//! shuttle's, which run the whole of the real code under schedules drawn from a seed. Public, for the crates above.
//!
//! The integers are not shuttle's: ours lie in mapped memory and must be words there. They are the system's with a point
//! before each access where the scheduler may go on with another thread, which is all that shuttle's do.
#![expect(
    unsafe_code,
    reason = "from_ptr, as the standard library's atomics have it"
)]

use std::sync::{PoisonError, TryLockError};

/// What closures of the epoch's touch. They run wherever garbage is collected, which may be outside of every schedule: at
/// the exit of a test's thread, one that gave way aborted the process.
pub(crate) use std::sync::atomic::AtomicU64 as EpochU64;

pub use shuttle::sync::atomic::{AtomicBool, Ordering};
pub use shuttle::sync::{MutexGuard, RwLockReadGuard};
pub use shuttle::thread::{JoinHandle, sleep, yield_now};
pub use shuttle::thread_local;

/// A wait for another thread's next few instructions: the scheduler goes on with that one.
#[derive(Debug)]
pub struct Backoff(());

impl Backoff {
    /// Nothing was waited for yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(())
    }

    /// Gives way.
    pub fn snooze(&self) {
        yield_now();
    }
}

/// Here the scheduler may go on with another thread.
fn step() {
    AtomicBool::new(false).load(Ordering::SeqCst);
}

/// shuttle runs one thread at a time, so a fence orders nothing that is not in order already.
pub fn fence(_: Ordering) {
    step();
}

macro_rules! atomic_integers {
    ($($name:ident: $int:ty),*) => {$(
        #[derive(Debug, Default)]
        #[repr(transparent)]
        pub struct $name(std::sync::atomic::$name);

        impl $name {
            pub const fn new(value: $int) -> Self {
                Self(std::sync::atomic::$name::new(value))
            }

            /// # Safety
            /// As the standard library's.
            pub const unsafe fn from_ptr<'a>(ptr: *mut $int) -> &'a Self {
                // SAFETY: the caller's, and `Self` is transparent over an atomic of that integer.
                unsafe { &*ptr.cast::<Self>() }
            }

            pub fn load(&self, order: Ordering) -> $int {
                step();
                self.0.load(order)
            }

            pub fn store(&self, value: $int, order: Ordering) {
                step();
                self.0.store(value, order);
            }

            pub fn swap(&self, value: $int, order: Ordering) -> $int {
                step();
                self.0.swap(value, order)
            }

            pub fn fetch_add(&self, value: $int, order: Ordering) -> $int {
                step();
                self.0.fetch_add(value, order)
            }

            pub fn fetch_sub(&self, value: $int, order: Ordering) -> $int {
                step();
                self.0.fetch_sub(value, order)
            }

            pub fn fetch_max(&self, value: $int, order: Ordering) -> $int {
                step();
                self.0.fetch_max(value, order)
            }

            pub fn fetch_min(&self, value: $int, order: Ordering) -> $int {
                step();
                self.0.fetch_min(value, order)
            }

            pub fn fetch_update(
                &self,
                set: Ordering,
                fetch: Ordering,
                update: impl FnMut($int) -> Option<$int>,
            ) -> Result<$int, $int> {
                step();
                self.0.fetch_update(set, fetch, update)
            }

            pub fn compare_exchange(
                &self,
                old: $int,
                new: $int,
                ok: Ordering,
                err: Ordering,
            ) -> Result<$int, $int> {
                step();
                self.0.compare_exchange(old, new, ok, err)
            }

            pub fn compare_exchange_weak(
                &self,
                old: $int,
                new: $int,
                ok: Ordering,
                err: Ordering,
            ) -> Result<$int, $int> {
                step();
                self.0.compare_exchange_weak(old, new, ok, err)
            }

            pub fn get_mut(&mut self) -> &mut $int {
                self.0.get_mut()
            }

            pub fn into_inner(self) -> $int {
                self.0.into_inner()
            }
        }
    )*};
}

atomic_integers!(AtomicU32: u32, AtomicU64: u64, AtomicUsize: usize);

/// shuttle's mutex with the face of `parking_lot`'s: it does not poison.
#[derive(Debug, Default)]
pub struct Mutex<T>(shuttle::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub const fn new(value: T) -> Self {
        Self(shuttle::sync::Mutex::new(value))
    }

    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// shuttle's lock for many readers, likewise.
#[derive(Debug, Default)]
pub struct RwLock<T>(shuttle::sync::RwLock<T>);

impl<T> RwLock<T> {
    pub const fn new(value: T) -> Self {
        Self(shuttle::sync::RwLock::new(value))
    }

    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn write(&self) -> shuttle::sync::RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// shuttle's condition variable.
#[derive(Debug, Default)]
pub struct Condvar(shuttle::sync::Condvar);

impl Condvar {
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.0.wait(guard).unwrap_or_else(PoisonError::into_inner)
    }

    /// shuttle knows no time: this waits for as long as the schedule says.
    pub fn wait_for<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        time: std::time::Duration,
    ) -> MutexGuard<'a, T> {
        self.0
            .wait_timeout(guard, time)
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }

    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}

/// A named thread.
///
/// # Errors
/// Never, here.
pub fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    shuttle::thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
}
