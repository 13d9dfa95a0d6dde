//! What is written is forgotten: before, so that a crash in the middle leaves nothing of what is being replaced; and after, for
//! somebody may have read it again meanwhile. A crash between those two leaves what was read in between: the
//! store has been written to then by a call that never returned.

use std::sync::Arc;

use super::Shared;
use super::errors::generic;
use super::object_store::Result;
use super::object_store::path::Path;
use crate::HeadPolicy;
use crate::relayed::NotForgotten;

/// What becomes of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It has another content, or one at all.
    Written,
    /// Nothing. What is written in its place later is a change of its own, so blocks can stay.
    Deleted,
}

impl Shared {
    /// No read that begins after this is served what was there before, whatever crash follows.
    pub(super) async fn forget(&self, locations: &[Path], change: Change) -> perennial::Result<()> {
        match self.try_to_forget(locations, change).await {
            // Each read asks the store anyway, and its answer tells the new content from the old one.
            Err(error)
                if self.policy == HeadPolicy::AlwaysRevalidate
                    && self.kinds.are_names(&self.blocks).await =>
            {
                tracing::warn!(%error, "the cache cannot forget objects that were written: under another policy they could be served as they were");
                Ok(())
            }
            forgotten => forgotten,
        }
    }

    /// As many as can be forgotten, whatever becomes of the others; the first error.
    async fn try_to_forget(&self, locations: &[Path], change: Change) -> perennial::Result<()> {
        let named = locations
            .iter()
            .filter(|location| super::is_cacheable(location));
        let named: Vec<&Path> = named.collect();
        if named.is_empty() {
            return Ok(());
        }
        let mut ended = Ok(());
        for location in named {
            let forgotten = self.forget_one(location, change).await;
            ended = ended.and(forgotten);
        }
        // Lost power must not bring them back.
        let flushed = self.cache.flush().await;
        ended.and(flushed)
    }

    async fn forget_one(&self, location: &Path, change: Change) -> perennial::Result<()> {
        if change == Change::Deleted || self.kinds.are_names(&self.blocks).await {
            return self.blocks.forget(location.as_ref()).await;
        }
        // What is written may have the same version as what is cached.
        self.blocks.invalidate(location.as_ref()).await.map(|_| ())
    }
}

/// A write that has begun. Where its caller does not wait for the end, what it writes is forgotten in the background.
pub(super) struct Writing {
    shared: Arc<Shared>,
    locations: Vec<Path>,
    change: Change,
}

impl Writing {
    /// Of objects that were forgotten before, or need not be.
    pub(super) fn new(shared: &Arc<Shared>, locations: Vec<Path>, change: Change) -> Self {
        Self {
            shared: Arc::clone(shared),
            locations,
            change,
        }
    }

    /// Of objects that get another content. Nothing has happened to the store when this fails.
    pub(super) async fn begin(
        shared: &Arc<Shared>,
        locations: Vec<Path>,
    ) -> perennial::Result<Self> {
        shared.forget(&locations, Change::Written).await?;
        Ok(Self::new(shared, locations, Change::Written))
    }

    pub(super) async fn forget(mut self) -> perennial::Result<()> {
        let forgotten = self.shared.forget(&self.locations, self.change).await;
        self.locations.clear();
        forgotten
    }

    /// The store has answered: whatever that is, the write may have been done.
    pub(super) async fn end<T>(self, written: Result<T>) -> Result<T> {
        let forgotten = self.forget().await;
        match (written, forgotten) {
            (written, Ok(())) => written,
            (Ok(_), Err(source)) => Err(generic(NotForgotten { source })),
            (Err(failed), Err(error)) => {
                tracing::warn!(%error, "the cache cannot forget objects of which a write failed");
                Err(failed)
            }
        }
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        let locations = std::mem::take(&mut self.locations);
        if locations.is_empty() {
            return;
        }
        let (shared, change) = (Arc::clone(&self.shared), self.change);
        self.shared.runtime.spawn(async move {
            if let Err(error) = shared.forget(&locations, change).await {
                tracing::warn!(%error, "the cache cannot forget objects of which a write was given up");
            }
        });
    }
}
