//! Deleting: a stream of names in, one of what became of them out.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::stream::{self, BoxStream, StreamExt};
use parking_lot::Mutex;

use super::Shared;
use super::errors::generic;
use super::forget::{Change, Writing};
use super::object_store::Result;
use super::object_store::path::Path;
use crate::relayed::NotForgotten;

/// So many names are forgotten by one sync, if they come at once. Stores that delete many by one request take up to a thousand.
const BATCH: usize = 1000;

pub(super) fn stream(
    shared: &Arc<Shared>,
    locations: BoxStream<'static, Result<Path>>,
) -> BoxStream<'static, Result<Path>> {
    let deleting = Arc::new(Deleting {
        shared: Arc::clone(shared),
        open: Mutex::default(),
    });
    let ending = Arc::clone(&deleting);
    let named = locations
        .ready_chunks(BATCH)
        .then(move |batch| {
            let deleting = Arc::clone(&deleting);
            async move { deleting.begin(batch).await }
        })
        .flat_map(stream::iter)
        .boxed();
    let deleted = shared.inner.delete_stream(named);
    deleted
        .ready_chunks(BATCH)
        .then(move |batch| {
            let deleting = Arc::clone(&ending);
            async move { deleting.end(batch).await }
        })
        .flat_map(stream::iter)
        .boxed()
}

struct Deleting {
    shared: Arc<Shared>,
    /// What the store was told to delete, and has not said to be gone.
    open: Mutex<HashSet<Path>>,
}

impl Deleting {
    async fn begin(&self, batch: Vec<Result<Path>>) -> Vec<Result<Path>> {
        let named: Vec<Path> = batch.iter().flatten().cloned().collect();
        let forgotten = self.shared.forget(&named, Change::Deleted).await;
        if forgotten.is_ok() {
            self.open.lock().extend(named);
        }
        unless_failed(batch, forgotten, generic)
    }

    async fn end(&self, batch: Vec<Result<Path>>) -> Vec<Result<Path>> {
        let mut gone: Vec<Path> = batch.iter().flatten().cloned().collect();
        {
            let mut open = self.open.lock();
            for location in &gone {
                open.remove(location);
            }
            // An error does not say which of them it is about; the others are under way still.
            if gone.len() < batch.len() {
                gone.extend(open.iter().cloned());
            }
        }
        let writing = Writing::new(&self.shared, gone, Change::Deleted);
        let forgotten = writing.forget().await;
        unless_failed(batch, forgotten, |source| generic(NotForgotten { source }))
    }
}

impl Drop for Deleting {
    fn drop(&mut self) {
        // Nobody waits for the end.
        let open = self.open.get_mut().drain().collect();
        drop(Writing::new(&self.shared, open, Change::Deleted));
    }
}

/// The batch as it is; or, where the cache cannot forget, an error for each in it.
fn unless_failed(
    batch: Vec<Result<Path>>,
    forgotten: perennial::Result<()>,
    error: impl Fn(perennial::Error) -> super::object_store::Error,
) -> Vec<Result<Path>> {
    let Err(failed) = forgotten else {
        return batch;
    };
    let refused = |location: Result<Path>| location.and_then(|_| Err(error(failed.clone())));
    batch.into_iter().map(refused).collect()
}
