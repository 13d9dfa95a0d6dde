//! Who wants to hear what is evicted.
//!
//! Without a listener nobody looks at the entries of a segment that is given up as a whole. With one each is taken out of
//! the index by itself first, under its shard's lock: so it is told of exactly what a reader finds no more, and not of what
//! was stored anew or removed meanwhile.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use perennial_wal::filling;
use perennial_wal::frame::FrameKind;
use perennial_wal::segment::{Row, Segment};

use crate::engine::Engine;
use crate::heads::{Head, Spot, together};
use crate::reclaim::Source;

/// Why an entry was evicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EvictReason {
    /// Its segment was reclaimed to make room, and the policy did not keep it.
    Reclaimed,
    /// It had expired, and then its segment was reclaimed.
    Expired,
}

/// Hears of entries that the cache drops by itself; see [`Options::on_evict`](crate::Options::on_evict). A closure is one.
pub trait EvictionListener: Send + Sync {
    /// An entry was evicted. `size`: bytes of its key and value.
    fn evicted(&self, key: &[u8], size: u64, reason: EvictReason);

    /// The cache was cleared, which does not look at what was in it: so many entries went.
    fn cleared(&self, entries: u64) {
        let _ = entries;
    }
}

impl<F: Fn(&[u8], u64, EvictReason) + Send + Sync> EvictionListener for F {
    fn evicted(&self, key: &[u8], size: u64, reason: EvictReason) {
        self(key, size, reason);
    }
}

/// The listener of an open cache.
#[derive(Clone)]
pub(crate) struct Listener(pub(crate) Arc<dyn EvictionListener>);

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}

impl Listener {
    /// What waits answers an error to whoever asks in here: this thread has the upkeep. A panic stays in here.
    fn tell(&self, what: impl FnOnce(&dyn EvictionListener)) {
        let told = catch_unwind(AssertUnwindSafe(|| filling(|| what(&*self.0))));
        if told.is_err() {
            tracing::error!("the eviction listener panicked; the cache goes on");
        }
    }
}

impl Engine {
    /// Tells the listener how many entries a clear dropped.
    pub(crate) fn tell_cleared(&self, entries: u64) {
        if let Some(listener) = &self.plan.listener {
            listener.tell(|listener| listener.cleared(entries));
        }
    }

    /// With a listener: takes what still lies in a segment that is about to be given up out of the index, and tells it.
    pub(crate) fn tell_given_up(&self, from: Source, segment: &Segment) {
        if self.plan.listener.is_none() {
            return;
        }
        perennial_failpoints::site!("evict::tell");
        let number = segment.header.number;
        let rows = self.rows_to_tell(self.log.store().rows_there_are(segment));
        self.tell_rows_of(&rows, segment);
        if from == Source::Log {
            // Of large values.
            let behind = self.rows_to_tell(self.references_behind(number, &rows));
            self.tell_rows_of(&behind, segment);
        }
    }

    fn rows_to_tell<E: fmt::Display>(&self, rows: Result<Vec<Row>, E>) -> Vec<Row> {
        rows.unwrap_or_else(|error| {
            tracing::warn!(%error, "what was evicted cannot be told");
            self.counters.read_errors.add(1);
            Vec::new()
        })
    }

    /// Of the entries in `gone` those that these rows are about.
    fn tell_rows_of(&self, rows: &[Row], gone: &Segment) {
        let segment_bytes = self.log.geometry().segment_bytes;
        let here = |row: &Row| {
            let entry = matches!(
                row.kind,
                FrameKind::Put | FrameKind::Ref | FrameKind::Extent
            );
            entry && row.target.position().segment(segment_bytes) == gone.header.number
        };
        let rows = rows.iter().filter(|row| here(row));
        let mut spots: Vec<Spot> = rows.filter_map(|row| self.spot_of(row)).collect();
        spots.sort_unstable_by_key(|spot| spot.addr.to_bits());
        let mut rest = &spots[..];
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(together(rest, segment_bytes));
            rest = behind;
            for (spot, head) in piece.iter().zip(self.heads(gone, piece)) {
                let head = head.or_else(|| self.head_again(gone, spot).ok().flatten());
                if self.take_out(spot) {
                    self.counters.evicted.add(1);
                    self.tell_evicted(head.as_ref());
                }
            }
        }
    }

    /// Where a row's entry lies, if it still does.
    fn spot_of(&self, row: &Row) -> Option<Spot> {
        let found = self.index.get(row.hash)?;
        (found.addr == row.target).then(|| Spot {
            identity: self.index.identity(row.hash),
            addr: found.addr,
            class: found.size_class,
        })
    }

    fn take_out(&self, spot: &Spot) -> bool {
        let hash = self.index.hash_of(spot.identity);
        let mut shard = self.index.lock(hash);
        let there = shard.remove_if(hash, spot.addr);
        if there {
            self.ledger.subtract(spot.addr);
            // What was pinned and could not be moved: later nobody finds it in the index.
            self.lose_pin(hash);
        }
        there
    }

    /// Tells the listener of an entry that was dropped; `None`: its key could not be read.
    fn tell_evicted(&self, head: Option<&Head>) {
        let Some(listener) = &self.plan.listener else {
            return;
        };
        let Some(Head { header, key }) = head else {
            self.counters.damaged_reads.add(1);
            return;
        };
        let size = u64::from(header.key_bytes) + u64::from(header.value_bytes);
        let reason = if self.expired(header) {
            EvictReason::Expired
        } else {
            EvictReason::Reclaimed
        };
        listener.tell(|listener| listener.evicted(key, size, reason));
    }
}
