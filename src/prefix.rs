//! Removing all keys that begin alike.
//!
//! What is in the index is listed, entries whose time is over among them, and each is removed like any other key. That is not enough: what was evicted is in no index,
//! but while its bytes are not written over, a recovery may find it again (hole 30 in `docs/recovery.md`). A remove of one
//! key is logged whether the key is there or not; here nobody knows which keys those would be. So a `Clear` frame follows
//! that names the segments which still count: what lies elsewhere stays away from then on. The few entries that left the
//! index for another reason than their segment are removed by their hash. A fetch that began before is not stored: it may be
//! of such a key, too.

use perennial_recovery::{LEFT_BYTES, LEFT_KEPT_BYTES, Left};
use perennial_wal::frame::FrameKind;
use perennial_wal::{SegmentId, may_wait, to_usize};

use crate::engine::Engine;
use crate::error::Result;
use crate::keys::Found;
use crate::write::Only;

impl Engine {
    pub(crate) fn remove_prefix(&self, prefix: &[u8]) -> Result<u64> {
        self.check_open()?;
        may_wait()?;
        // First: what is stored by then is listed.
        for mut shard in self.index.lock_all() {
            shard.extra().supersede_prefix(prefix);
        }
        let mut removed = 0;
        for found in self.list() {
            removed += u64::from(match found? {
                Found::Key(key) if key.starts_with(prefix) => {
                    self.remove_one(&key, self.hash(&key))?
                }
                // Its end is not in the log: on a clock that has gone back a recovery would find it again.
                Found::Ended(key) if key.starts_with(prefix) => {
                    self.remove_one(&key, self.hash(&key))?;
                    false
                }
                Found::Key(_) | Found::Ended(_) => false,
                // It may be one of them, and may be readable after a restart.
                Found::Unknown(identity, addr) => {
                    let (hash, at) = (self.index.hash_of(identity), Only::At(addr));
                    let there = self
                        .remove_if(&[], hash, at)?
                        .is_some_and(|(_, there)| there);
                    self.counters.removes.add(u64::from(there));
                    there
                }
            });
        }
        if !perennial_failpoints::planted!("evicted-keys-outlive-a-prefix") {
            self.remove_what_was_lost()?;
            self.forget_the_evicted()?;
        }
        Ok(removed)
    }

    fn remove_one(&self, key: &[u8], hash: u64) -> Result<bool> {
        let (_, there) = self.remove_hash(key, hash)?;
        self.counters.removes.add(u64::from(there));
        Ok(there)
    }

    fn forget_the_evicted(&self) -> Result<()> {
        loop {
            let dropped = self.dropped_unread.lock().last().copied();
            let Some(hash) = dropped else { break };
            // What was stored there since is in the log behind it.
            self.remove_if(&[], hash, Only::Absent)?;
            self.dropped_unread.lock().retain(|other| *other != hash);
        }
        let mut state = self.lock_upkeep()?;
        for left in self.what_is_left() {
            perennial_failpoints::site!("prefix::left");
            self.append_meta(&mut state, FrameKind::Clear, &left.encode())?;
        }
        Ok(())
    }

    /// In as many frames as it takes.
    fn what_is_left(&self) -> Vec<Left> {
        let store = self.log.store();
        let at_once = to_usize((self.meta_bytes() - LEFT_BYTES) / LEFT_KEPT_BYTES).max(1);
        let kept: Vec<SegmentId> = store.kept().iter().map(|s| s.header.number).collect();
        let mut from = SegmentId(0);
        let mut all: Vec<Left> = Vec::new();
        for kept in kept.chunks(at_once) {
            let below = SegmentId(kept.last().map_or(0, |last| last.0 + 1));
            let left = Left {
                oldest: store.oldest(),
                from,
                below,
                kept: kept.to_vec(),
            };
            all.push(left);
            from = below;
        }
        if all.is_empty() {
            all.push(Left {
                oldest: store.oldest(),
                from,
                below: from,
                kept: Vec::new(),
            });
        }
        // Kept segments that come later are not meant.
        if let Some(last) = all.last_mut() {
            last.below = store.next_number();
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use perennial_failpoints::SimFs;

    use super::*;
    use crate::{Cache, Options};

    /// Between the list and the remove another thread may store the key: what was meant is not there any more.
    #[test]
    fn what_is_stored_meanwhile_is_not_removed() -> crate::Result<()> {
        let options = Options::new()
            .capacity_bytes(1 << 20)
            .segment_bytes(8 << 10)
            .tail_bytes(4 << 10)
            .background(false);
        let cache = Cache::open_with(Arc::new(SimFs::new(1)), "/cache", options)?;
        let engine = cache.engine();
        let hash = engine.hash(b"key");
        cache.insert("key", "older")?;
        let listed = engine.index.get(hash).map(|entry| Only::At(entry.addr));
        cache.insert("key", "newer")?;
        for only in listed.into_iter().chain([Only::Absent]) {
            assert!(engine.remove_if(&[], hash, only)?.is_none());
        }
        assert_eq!(cache.get("key")?.as_deref(), Some(b"newer".as_slice()));
        let now = engine.index.get(hash).map(|entry| Only::At(entry.addr));
        assert!(
            engine
                .remove_if(&[], hash, now.expect("it is there"))?
                .is_some()
        );
        assert!(engine.remove_if(&[], hash, Only::Absent)?.is_some());
        assert_eq!(cache.get("key")?.as_deref(), None);
        Ok(())
    }
}
