//! A thread that holds an unfinished reservation while a caller's closure fills it: it must not wait for itself.

use std::cell::Cell;

use crate::error::{Result, WalError};

thread_local! {
    /// This thread is inside a closure that fills a reservation.
    static FILLING: Cell<bool> = const { Cell::new(false) };
}

/// Runs `fill`, a caller's closure, while this thread holds an unfinished reservation. Whatever would wait for that
/// reservation answers [`WalError::Reentered`] instead.
pub fn filling<T>(fill: impl FnOnce() -> T) -> T {
    struct Reset(bool);
    impl Drop for Reset {
        fn drop(&mut self) {
            FILLING.set(self.0);
        }
    }
    let _reset = Reset(FILLING.replace(true));
    fill()
}

/// Fails inside [`filling`].
///
/// # Errors
/// [`WalError::Reentered`].
pub fn may_wait() -> Result<()> {
    if FILLING.get() {
        Err(WalError::Reentered)
    } else {
        Ok(())
    }
}
