//! Asking the origin: which version, how long, and with an object of which nothing is known its first bytes.
//!
//! ```text
//!   stake in what is remembered ─► origin.head or open_at ─► flights of the blocks, stakes in them ─► removed meanwhile?
//!     ─► the blocks land, as of any fetch ─► remembered for the next life ─► known ─► landed
//! ```
//! A block's key has the version, which nobody knows before the answer. So the stake that tells whether something was
//! removed meanwhile is in the entry of the head, whose key begins like all of the object's (B4).

use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use perennial_wal::to_usize;

use crate::blocks::age::Since;
use crate::blocks::fetch::Late;
use crate::blocks::flights::{Landing, Ticket};
use crate::blocks::key::Cut;
use crate::blocks::origin::{Head, Opened, OriginError};
use crate::blocks::party::Left;
use crate::blocks::request::Priority;
use crate::blocks::runs::Claims;
use crate::blocks::shared::{Shared, guarded};
use crate::blocks::work::{Asking, Stale, Work};
use crate::error::{Error, ErrorKind};
use crate::fetch::Stake;

/// No object is longer: offsets are added to lengths.
pub(super) const MOST_BYTES: u64 = 1 << 62;

impl Opened {
    /// Nothing but what is there: bytes that go past the end, or begin within a block, are none.
    fn proved(mut self, bits: u8) -> Self {
        let end = self.offset.checked_add(self.bytes.len() as u64);
        let good = self.offset.trailing_zeros() >= u32::from(bits)
            && end.is_some_and(|end| end <= self.head.len);
        if !good {
            self.bytes = Bytes::new();
        }
        self
    }

    /// The blocks that are whole in it.
    pub(super) fn blocks(&self, cut: Cut) -> Option<RangeInclusive<u64>> {
        if self.bytes.is_empty() {
            return None;
        }
        let end = self.offset + self.bytes.len() as u64;
        let first = self.offset >> cut.bits;
        let ends = if end == cut.len {
            cut.blocks()
        } else {
            end >> cut.bits
        };
        (ends > first).then(|| first..=ends - 1)
    }

    /// A block, if it is whole in it.
    pub(super) fn block(&self, cut: Cut, number: u64) -> Option<Bytes> {
        self.blocks(cut).filter(|blocks| blocks.contains(&number))?;
        let at = to_usize(cut.bytes(number).start - self.offset);
        Some(self.bytes.slice(at..at + cut.bytes_of(number)))
    }
}

impl Shared {
    /// Asks the origin, on whatever thread.
    pub(super) fn ask_origin(self: &Arc<Self>, asking: Asking) {
        let claims = std::slice::from_ref(&asking.claim);
        let asked = &self.heads.asking;
        let Some(left) = asked.begin_or_give_up(claims, false, self.now_ns()) else {
            self.counters.unwanted_fetches.add(1);
            return;
        };
        let object = &asking.object;
        let engine = self.cache.shared_engine();
        let key = self.remembered_key(object).map(Arc::from);
        let stake = key.map(|key| engine.stake(&key));
        let (number, asked_ns, asked_ms) = (self.heads.question(), self.now_ns(), self.wall_ms());
        let opened = match self.answer(&asking, &left) {
            Ok(opened) => opened,
            Err(landing) => return asking.claim.conclude(landing),
        };
        let claims = self.claim_opened(&asking, &opened);
        let brought = claims.len() as u64;
        let stakes: Vec<_> = claims
            .iter()
            .map(|(_, claim)| engine.stake(&claim.key))
            .collect();
        // The other stakes come before this look: what is removed after it takes them out, too.
        let removed = stake.as_ref().is_none_or(|stake| !stake.is_newest())
            && !perennial_failpoints::planted!("opened-block-kept-anyway");
        let late = if removed {
            // Nobody joins a flight of blocks from before that.
            let lost = claims
                .iter()
                .filter(|(_, claim)| claim.flight.is_to_be_kept());
            self.counters.failed_fills.add(lost.count() as u64);
            drop(claims);
            Vec::new()
        } else {
            self.keep_opened(&opened, claims, stakes)
        };
        let unkept = stake.and_then(|stake| self.remember(object, stake, &opened.head, asked_ms));
        self.learn(object, &opened.head, number, asked_ns);
        asking.claim.conclude(Landing::Good(opened));
        self.count_left(&left, brought);
        if let Some(unkept) = unkept {
            self.remember_late(object, unkept);
        }
        self.keep_late(late);
    }

    /// What the origin says, or what its silence comes to.
    fn answer(&self, asking: &Asking, left: &Left) -> Result<Opened, Landing<Opened>> {
        let object = &asking.object;
        self.counters.heads.add(1);
        let answer = guarded(|| {
            let opened = match &asking.wanted {
                // One that changed while its bytes came is asked for without them.
                Some(wanted) => {
                    let options = &asking.options;
                    match self.origin.open_at(object, wanted.clone(), options, left) {
                        Err(OriginError::Changed) => self.origin.head(object, left)?.into(),
                        opened => opened?,
                    }
                }
                None => self.origin.head(object, left)?.into(),
            };
            if opened.head.len > MOST_BYTES {
                return Err(format!("it has {} bytes", opened.head.len).into());
            }
            Ok(opened)
        });
        match answer {
            Ok(opened) => Ok(opened.proved(self.plan.bits)),
            Err(OriginError::Changed) => Err(Landing::Changed),
            Err(OriginError::Failed(why)) => {
                let counters = &self.counters;
                let failed = if left.is_so() {
                    &counters.unwanted_fetches
                } else {
                    &counters.head_failures
                };
                failed.add(1);
                let message = format!("the origin does not say which version {object} has: {why}");
                let error = Error::new(ErrorKind::Origin, message).with_source(why);
                Err(Landing::Failed(error))
            }
        }
    }

    /// A flight for each block that came with the answer and that nobody else fetches.
    fn claim_opened(&self, asking: &Asking, opened: &Opened) -> Claims {
        let cut = self.cut(&opened.head);
        let blocks: Vec<u64> = opened.blocks(cut).into_iter().flatten().collect();
        if opened.bytes.is_empty() {
            return Claims::new();
        }
        self.counters.origin_reads.add(1);
        self.counters.origin_bytes.add(opened.bytes.len() as u64);
        self.counters.fetched_blocks.add(blocks.len() as u64);
        let Ok(mut keys) = self.keys(&asking.object, &opened.head) else {
            return Claims::new();
        };
        let ticket = Ticket {
            parker: None,
            populate: asking.claim.flight.is_to_be_kept(),
            priority: Priority::Background,
        };
        let boxed = blocks.iter().map(|number| Arc::from(keys.of(*number)));
        let seats = self.flights.board(boxed, ticket, Since::EVER, |_| ());
        let claimed = blocks.into_iter().zip(seats);
        claimed
            .filter_map(|(number, (_, claim))| Some((number, claim?)))
            .collect()
    }

    /// As with any fetch: kept and landed, or landed and kept later.
    fn keep_opened(
        self: &Arc<Self>,
        opened: &Opened,
        claims: Claims,
        stakes: Vec<Stake>,
    ) -> Vec<Late> {
        let cut = self.cut(&opened.head);
        let blocks = claims.into_iter().zip(stakes);
        blocks
            .filter_map(|((number, claim), stake)| {
                let block = opened.block(cut, number)?;
                self.land(claim, stake, Landing::Good(block), !self.plan.kept_first)
            })
            .collect()
    }

    fn cut(&self, head: &Head) -> Cut {
        Cut {
            bits: self.plan.bits,
            len: head.len,
        }
    }

    fn learn(self: &Arc<Self>, object: &Arc<str>, head: &Head, number: u64, asked_ns: u64) {
        let put = self.heads.questions();
        let Some(old) = self.heads.of(object).learn(head, number, asked_ns, put) else {
            return;
        };
        self.counters.changes.add(1);
        let stale = Stale {
            object: Arc::clone(object),
            head: old,
        };
        self.do_some_time(Work::Drop(stale));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_blocks_of_what_came_with_the_answer_are_used() {
        let opened = |offset, bytes: usize, len| {
            Opened::new(Head::new("v", len), offset, vec![7; bytes]).proved(12)
        };
        let cut = |len| Cut { bits: 12, len };
        assert_eq!(opened(4096, 8192, 20_000).blocks(cut(20_000)), Some(1..=2));
        assert_eq!(opened(4096, 8191, 20_000).blocks(cut(20_000)), Some(1..=1));
        assert_eq!(opened(4096, 4095, 20_000).blocks(cut(20_000)), None);
        assert_eq!(opened(0, 5000, 5000).blocks(cut(5000)), Some(0..=1));
        assert_eq!(
            opened(0, 5000, 5000)
                .block(cut(5000), 1)
                .map(|block| block.len()),
            Some(904)
        );
        // Past the end, and from within a block.
        assert_eq!(opened(0, 5001, 5000).blocks(cut(5000)), None);
        assert_eq!(opened(100, 4996, 20_000).blocks(cut(20_000)), None);
        assert_eq!(opened(!4095, 4096, 20_000).blocks(cut(20_000)), None);
    }
}
