//! Where what may wait is done: on threads of the runtime, so many at a time.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinHandle};

use crate::error::{Error, ErrorKind, Result};

/// Bounds how many threads of the runtime a cache takes. Reads and writes are counted apart: no read stands behind a sync.
#[derive(Debug)]
pub(crate) struct Pool {
    reads: Arc<Semaphore>,
    waits: Arc<Semaphore>,
    /// In which it was made, if in any: for a future that is polled outside of all.
    runtime: Option<Handle>,
}

impl Pool {
    pub(super) fn new(reads: usize, waits: usize) -> Self {
        Self {
            reads: Arc::new(Semaphore::new(reads)),
            waits: Arc::new(Semaphore::new(waits)),
            runtime: Handle::try_current().ok(),
        }
    }

    /// Whose threads do it: the runtime that polls, or the one in which this was made.
    pub(crate) fn runtime(&self) -> Result<Handle> {
        let known = Handle::try_current().ok().or_else(|| self.runtime.clone());
        known.ok_or_else(|| Error::invalid("neither made nor polled inside of a runtime of tokio"))
    }

    /// Something that reads files.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        run(&self.runtime()?, &self.reads, call).await
    }

    /// Something that waits for the cache's writing.
    pub(crate) async fn wait<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        run(&self.runtime()?, &self.waits, call).await
    }
}

/// When the future is dropped a call that has begun goes on, and keeps its slot; one that has not is not made.
async fn run<T: Send + 'static>(
    runtime: &Handle,
    slots: &Arc<Semaphore>,
    call: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    let slot = Arc::clone(slots).acquire_owned().await;
    let slot = slot.map_err(|_| stopping())?;
    let mut called = Called(runtime.spawn_blocking(move || {
        let _slot = slot;
        call()
    }));
    joined((&mut called.0).await)
}

/// What was given to a thread, and is wanted as long as this lives.
struct Called<T>(JoinHandle<T>);

impl<T> Drop for Called<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a thread or task of the runtime came to; its panic goes on here.
pub(crate) fn joined<T>(ended: std::result::Result<T, JoinError>) -> Result<T> {
    ended.map_err(|failed| match failed.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_) => stopping(),
    })
}

fn stopping() -> Error {
    Error::new(
        ErrorKind::Closed,
        "the runtime is shutting down: nothing more is read or written for tasks",
    )
}
