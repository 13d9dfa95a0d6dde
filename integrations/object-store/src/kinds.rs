//! Whether a write may leave the blocks of what it replaces. Names differ wherever the bytes do; times do not: two contents of one size
//! may be of the same tick of the clock, and then the old blocks would be taken for the new ones.
//!
//! ```text
//!   key: 00 'o' 's' 01, identity      value: none      it says: no block of this identity is of a time
//! ```
//! The cache may forget the entry, and then it is looked again, once through all keys; never is it there wrongly. For it is removed before the
//! first block of a time can be kept, in the order of the log, and the look is a fetch of the entry that such a remove takes out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use perennial::AsyncCache;
use perennial::blocks::{AsyncBlockCache, Version};
use tokio::runtime::Handle;

use crate::version::is_time;

/// Begins the key of what is remembered of an identity.
const MAGIC: [u8; 4] = *b"\0os\x01";

#[derive(Debug, thiserror::Error)]
#[error("there are blocks of versions that are times")]
struct Times;

#[derive(Debug)]
pub(crate) struct Kinds {
    cache: AsyncCache,
    runtime: Handle,
    key: Vec<u8>,
    /// This life has seen one.
    times: AtomicBool,
    /// What an earlier life said is gone.
    unsaid: AtomicBool,
    /// The store has given a range.
    ranges: AtomicBool,
}

impl Kinds {
    pub(crate) fn new(cache: AsyncCache, identity: &str, runtime: Handle) -> Self {
        let key = [&MAGIC, identity.as_bytes()].concat();
        Self {
            cache,
            key,
            times: AtomicBool::new(false),
            unsaid: AtomicBool::new(false),
            runtime,
            ranges: AtomicBool::new(false),
        }
    }

    /// To be told of every version before a block of it can be kept.
    pub(crate) async fn saw(&self, version: &Version) {
        if !is_time(version) {
            return;
        }
        self.times.store(true, Ordering::Release);
        // Nobody waits for another who does the same: that may be a write which nobody polls.
        if self.unsaid.load(Ordering::Acquire) {
            return;
        }
        match self.cache.remove(&self.key).await {
            Ok(()) => self.unsaid.store(true, Ordering::Release),
            // A cache that cannot log a remove keeps no block either.
            Err(error) => tracing::debug!(%error, "the cache cannot note that versions are times"),
        }
    }

    pub(crate) fn saw_range(&self) {
        self.ranges.store(true, Ordering::Relaxed);
    }

    /// The store below is known to have ranges.
    pub(crate) fn has_ranges(&self) -> bool {
        self.ranges.load(Ordering::Relaxed)
    }

    /// No block in the cache is of a time, nor will one be of an answer that was given until now.
    pub(crate) async fn are_names(self: &Arc<Self>, blocks: &AsyncBlockCache) -> bool {
        if self.saw_times() {
            return false;
        }
        if !matches!(self.cache.get(&self.key).await, Ok(Some(_))) {
            // By a task of its own: all writes wait for the one look, and that of whoever began it may not be polled.
            let (kinds, blocks) = (Arc::clone(self), blocks.clone());
            let looked = self.runtime.spawn(async move { kinds.look(&blocks).await });
            if !matches!(looked.await, Ok(true)) {
                return false;
            }
        }
        // Once more: one that was seen meanwhile was perhaps behind the look.
        !self.saw_times()
    }

    fn saw_times(&self) -> bool {
        self.times.load(Ordering::Acquire)
    }

    /// Says that there are none, if it is so.
    async fn look(&self, blocks: &AsyncBlockCache) -> bool {
        let look = || async {
            match blocks.any_version(is_time).await {
                Ok(false) => Ok(Vec::new()),
                Ok(true) => {
                    self.times.store(true, Ordering::Release);
                    Err(Times.into())
                }
                Err(error) => Err(Box::<dyn std::error::Error + Send + Sync>::from(error)),
            }
        };
        self.cache.get_or_fetch(&self.key, look).await.is_ok()
    }
}
