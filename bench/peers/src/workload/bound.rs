//! Keeps stores within the capacity that cannot do it themselves: the oldest keys are removed, as whoever used them as a cache
//! would have to.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::backend::{Backend, Kind};
use crate::data::{KEY_BYTES, key};
use crate::failure::Result;

/// For values of one length, whose keys are put in the order of their numbers.
pub(super) struct Bound {
    most: u64,
    next: AtomicU64,
}

impl Bound {
    pub(super) fn new(kind: Kind, capacity_bytes: u64, value_bytes: usize) -> Self {
        let most = if kind.is_bounded() {
            u64::MAX
        } else {
            capacity_bytes / (value_bytes + KEY_BYTES) as u64
        };
        Self {
            most,
            next: AtomicU64::new(0),
        }
    }

    /// To be called when `put` keys are there or were.
    pub(super) fn keep(&self, store: &dyn Backend, put: u64) -> Result<()> {
        while let Some(oldest) = self.take(put) {
            store.remove(&key(oldest))?;
        }
        Ok(())
    }

    fn take(&self, put: u64) -> Option<u64> {
        let step = |next: u64| (put.saturating_sub(next) > self.most).then_some(next + 1);
        self.next
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, step)
            .ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_once() {
        let bound = Bound::new(Kind::Files, 10 * 116, 100);
        assert_eq!(bound.take(10), None);
        assert_eq!(
            (bound.take(12), bound.take(12), bound.take(12)),
            (Some(0), Some(1), None)
        );
        assert_eq!(Bound::new(Kind::Perennial, 1, 100).take(1_000_000), None);
    }
}
