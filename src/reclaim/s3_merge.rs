//! A small log for probation, and kept segments that are merged in place.
//!
//! ```text
//!   kept, by order:  tail [ 12 ][ 31 ][ 33 ] ... [ 40 ] head ◀── read in time, or a ghost ── [ 41 ][ 42 ] ... the log
//!                              ▲ the hand: what was read stays here, the rest is dropped              the rest is a ghost
//! ```
//! The log takes what the kept segments do not need, and they are reclaimed only once they have more than their share.
//!
//! A working set that nearly fits is moved round and round for few misses. [`Writes`] notices, and the policy becomes
//! stingier step by step; measured, that costs no hits (`docs/eviction.md`).

use std::sync::Arc;

use perennial_wal::to_usize;

use super::duel::{Duel, Scores};
use super::ghost::Ghost;
use super::writes::Writes;
use super::{Candidate, Kept, Lane, Placement, Policy, Source, Step, View};

/// How `s3-merge` decides.
#[derive(Debug, Clone, Copy)]
pub struct S3Options {
    /// The log's share of the segments.
    pub log_percent: u64,
    /// Reads within the log that make an entry worth keeping: 1, or 2 for fewer writes.
    pub promote: u8,
    /// Ghosts for each 100 entries.
    pub ghost_percent: u64,
    /// A kept segment stays as it is if so much of it would be kept.
    pub stay_percent: u64,
    /// Whether a duel decides where survivors go; without it they stay at the hand's place.
    pub duel: bool,
    /// Reads of entries in this newest part of the log, in percent, are no visits: what is asked for again at once is
    /// often asked for never after.
    pub young_percent: u64,
    /// Bytes of a segment.
    pub segment_bytes: u64,
}

impl S3Options {
    /// The defaults.
    #[must_use]
    pub fn new(segment_bytes: u64) -> Self {
        Self {
            log_percent: 25,
            promote: 1,
            ghost_percent: 150,
            stay_percent: 90,
            duel: true,
            young_percent: 25,
            segment_bytes,
        }
    }
}

/// What is dropped from a kept segment is a ghost, too, while fewer writes than this are made for 100 admitted.
const KEPT_GHOSTS_BELOW: u64 = 130;
/// Survivors go to the head, if the duel says so, while fewer writes are made.
const TO_HEAD_BELOW: u64 = 140;
/// Where more are made an entry of the log needs one more read.
const PROMOTE_MORE_ABOVE: u64 = 155;

/// The log is probation; kept segments are reclaimed by a hand.
#[derive(Debug)]
pub struct S3Merge {
    options: S3Options,
    ghost: Ghost,
    duel: Option<Arc<Duel>>,
    writes: Writes,
    /// Survivors go to the head, not to the hand's place.
    to_head: bool,
    /// The order of the kept segment reclaimed last.
    hand: u64,
    /// The order of the next segment at the head.
    head: u64,
    /// Kept segments in a row that stayed as they are.
    stayed: usize,
    /// How many may.
    may_stay: usize,
}

impl S3Merge {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(options: S3Options) -> Self {
        let duel = || Arc::new(Duel::new(options.promote, options.log_percent));
        Self {
            options,
            ghost: Ghost::new(),
            duel: options.duel.then(duel),
            writes: Writes::default(),
            to_head: false,
            hand: 0,
            head: 1,
            stayed: 0,
            may_stay: 0,
        }
    }

    fn look_at(&mut self, view: &View<'_>) {
        let ghosts = view.entries * self.options.ghost_percent / 100;
        self.ghost.resize(ghosts);
        self.writes.forget_beyond(view.entries);
        if let Some(duel) = &self.duel {
            let bytes = view.segments as u64 * self.options.segment_bytes;
            duel.resize(view.entries, bytes, ghosts);
            self.to_head = self.writes.per_cent() < TO_HEAD_BELOW && duel.to_head();
        }
        let newest = view.kept.iter().map(|kept| kept.order).max();
        self.head = self
            .head
            .max(newest.map_or(0, |order| order.saturating_add(1)));
        self.may_stay = 2 * view.kept.len();
    }

    /// The segment the hand points at.
    fn at_hand(&self, kept: &[Kept]) -> Option<Kept> {
        let oldest = kept.iter().min_by_key(|kept| kept.order);
        let ahead = kept.iter().filter(|kept| kept.order > self.hand);
        let next = ahead.min_by_key(|kept| kept.order);
        if self.to_head {
            oldest
        } else {
            next.or(oldest)
        }
        .copied()
    }

    fn take_head(&mut self) -> u64 {
        let order = self.head;
        self.head = self.head.saturating_add(1);
        order
    }
}

impl Policy for S3Merge {
    fn next(&mut self, view: &View<'_>) -> Step {
        self.look_at(view);
        let log_share = (view.segments as u64 * self.options.log_percent)
            .div_ceil(100)
            .max(2);
        let from_log = view.oldest.map(Step::Log);
        if view.log_segments as u64 > log_share
            && let Some(step) = from_log
        {
            return step;
        }
        match self.at_hand(view.kept) {
            None => from_log.unwrap_or(Step::Nothing),
            Some(kept) => {
                self.hand = kept.order;
                Step::Kept(kept.id)
            }
        }
    }

    fn keeps(&self, from: Source, entry: Candidate) -> bool {
        match from {
            Source::Log => {
                let more = u8::from(self.writes.per_cent() > PROMOTE_MORE_ABOVE);
                entry.visits >= self.options.promote + more || self.is_ghost(entry.hash)
            }
            // Readers that are quicker than the hand could make it go round for ever.
            Source::Kept => entry.visits > 0 && self.stayed <= self.may_stay,
        }
    }

    fn is_ghost(&self, hash: u64) -> bool {
        self.ghost.contains(hash)
    }

    fn stays(&mut self, bytes: u64, of: u64) -> Option<u64> {
        if bytes * 100 < of * self.options.stay_percent {
            self.stayed = 0;
            return None;
        }
        self.stayed += 1;
        Some(if self.to_head {
            self.take_head()
        } else {
            self.hand
        })
    }

    fn settle(&mut self, from: Source, hash: u64, kept: bool) {
        self.writes.settle(from, kept);
        let cheap = self.writes.per_cent() < KEPT_GHOSTS_BELOW;
        if kept {
            self.ghost.remove(hash);
        } else if from == Source::Log || cheap {
            self.ghost.insert(hash);
        }
    }

    fn placement(&mut self, from: Source) -> Placement {
        let (lane, order) = if from == Source::Kept && !self.to_head {
            (Lane::Hand, self.hand)
        } else {
            (Lane::Head, self.take_head())
        };
        Placement::Kept { lane, order }
    }

    fn young_segments(&self, written: usize) -> usize {
        to_usize(written as u64 * self.options.young_percent / 100)
    }

    fn sampler(&self) -> Option<Arc<Duel>> {
        self.duel.clone()
    }

    fn save(&self) -> Vec<u8> {
        let scores = self
            .duel
            .as_ref()
            .map_or(Scores::default(), |duel| duel.scores());
        let mut saved = vec![VERSION];
        let Writes { admitted, moved } = self.writes;
        let words = [
            self.hand,
            self.head,
            admitted,
            moved,
            scores.in_place,
            scores.to_head,
        ];
        saved.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        self.ghost.save(&mut saved);
        saved
    }

    fn load(&mut self, saved: &[u8]) -> bool {
        let Some((&[VERSION], rest)) = saved.split_first_chunk() else {
            return false;
        };
        let Some((words, ghost)) = rest.split_first_chunk::<48>() else {
            return false;
        };
        let Some(ghost) = Ghost::load(ghost) else {
            return false;
        };
        let mut words = words
            .as_chunks()
            .0
            .iter()
            .map(|word| u64::from_le_bytes(*word));
        let mut word = || words.next().unwrap_or(0);
        self.ghost = ghost;
        (self.hand, self.head) = (word(), word());
        self.writes = Writes {
            admitted: word(),
            moved: word(),
        };
        if let Some(duel) = &self.duel {
            duel.set_scores(Scores {
                in_place: word(),
                to_head: word(),
            });
        }
        true
    }
}

/// Of what is saved.
const VERSION: u8 = 1;

#[cfg(test)]
mod tests;
