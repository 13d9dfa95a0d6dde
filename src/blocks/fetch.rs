//! A run: one read of the origin, for neighbouring blocks, on a thread of the pool.
//!
//! ```text
//!   wanted still? ─► stake in each key ─► origin.read_at ─► same version still? ─► each whole block: keep, land, over
//! ```
//! The stake comes before the read: what is removed meanwhile, one by one or by an invalidate, is not kept (B4).

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use perennial_wal::to_usize;

use crate::blocks::flights::Landing;
use crate::blocks::key::Cut;
use crate::blocks::origin::{OriginError, OriginResult};
use crate::blocks::party::Left;
use crate::blocks::registry::Claim;
use crate::blocks::request::Priority;
use crate::blocks::shared::{Shared, guarded};
use crate::blocks::work::{Run, Work};
use crate::error::{Error, ErrorKind};
use crate::fetch::Stake;
use crate::sync::Ordering;
use crate::value::{Inserted, Rejection};

/// What a read of the origin came to.
enum Asked {
    /// So many bytes are good.
    Read(usize),
    Changed,
    Failed(Error),
}

impl Shared {
    pub(super) fn fly(self: &Arc<Self>, run: Run) {
        let (claims, anyway) = (&run.claims, run.wanted_anyway);
        let begun = self.flights.begin_or_give_up(claims, anyway, self.now_ns());
        let Some(left) = begun else {
            self.counters.unwanted_fetches.add(1);
            return;
        };
        let cut = Cut {
            bits: self.plan.bits,
            len: run.head.len,
        };
        let engine = self.cache.shared_engine();
        let stakes: Vec<_> = claims
            .iter()
            .map(|claim| engine.stake(&claim.key))
            .collect();
        let last = run.first + run.claims.len() as u64 - 1;
        let range = cut.bytes(run.first).start..cut.bytes(last).end;
        let mut bytes = vec![0; to_usize(range.end - range.start)];
        let began_ns = self.now_ns();
        let asked = self.ask_for(&run, range, &mut bytes, &left);
        self.times.fill.add(self.now_ns().saturating_sub(began_ns));
        let fetched = Fetched {
            cut,
            bytes: bytes.into(),
            asked,
        };
        let first = run.first;
        let patient = run.options.priority != Priority::Foreground;
        let at_last = patient || !self.plan.kept_first;
        let landings: Vec<_> = (first..)
            .zip(&run.claims)
            .map(|(number, _)| fetched.landing(first, number))
            .collect();
        // All of them, before the first one wakes anybody who might then join another.
        let failed = run.claims.iter().zip(&landings);
        failed
            .filter(|(_, landing)| !matches!(landing, Landing::Good(_)))
            .for_each(|(claim, _)| claim.seal());
        let brought = run.claims.len() as u64;
        let blocks = run.claims.into_iter().zip(stakes).zip(landings);
        let late: Vec<_> = blocks
            .filter_map(|((claim, stake), landing)| self.land(claim, stake, landing, at_last))
            .collect();
        self.count_left(&left, brought);
        self.keep_late(late);
    }

    /// All of them have landed by now: nobody can give them up any more.
    pub(super) fn count_left(&self, left: &Left, blocks: u64) {
        if left.is_so() {
            self.counters.left_blocks.add(blocks);
        }
    }

    /// The readers have it; and the block is kept before, unless that may take long, or there is no room at once.
    pub(super) fn land(
        self: &Arc<Self>,
        claim: Claim<Bytes>,
        stake: Stake,
        landing: Landing<Bytes>,
        at_last: bool,
    ) -> Option<Late> {
        if !claim.flight.is_to_be_kept() {
            // Whoever joined and wants it kept is known behind this: nobody joins any more.
            claim.seal();
        }
        let block = match &landing {
            Landing::Good(block) if claim.flight.is_to_be_kept() => block.clone(),
            _ => {
                claim.land(landing);
                claim.end(false);
                return None;
            }
        };
        let kept = if at_last {
            Kept::NoRoom
        } else {
            self.keep(&claim, &stake, &block, true)
        };
        claim.land(landing);
        if kept != Kept::NoRoom {
            self.over(claim, kept);
            return None;
        }
        Some(Late {
            claim,
            stake,
            block,
        })
    }

    fn over(&self, claim: Claim<Bytes>, kept: Kept) {
        self.counters
            .failed_fills
            .add(u64::from(kept != Kept::Stored));
        claim.end(kept == Kept::Stored);
    }

    /// Nobody waits for these any more. They wait for room in turn, on all threads but one, which is left to the readers.
    pub(super) fn keep_late(self: &Arc<Self>, late: Vec<Late>) {
        if late.is_empty() {
            return;
        }
        let patience = self.patience();
        for Late {
            claim,
            stake,
            block,
        } in late
        {
            let kept = self.keep(&claim, &stake, &block, !patience.may_wait);
            self.over(claim, kept);
        }
        if patience.may_wait {
            self.remember_waiting();
        }
    }

    /// Reads, and holds the version against the one that was asked for.
    fn ask_for(&self, run: &Run, range: Range<u64>, buf: &mut [u8], left: &Left) -> Asked {
        let (origin, object) = (&*self.origin, &*run.object);
        let version = &run.head.version;
        self.counters.origin_reads.add(1);
        self.counters.fetched_blocks.add(run.claims.len() as u64);
        let asked = || -> OriginResult<usize> {
            let read = origin.read_at(object, version, range.start, buf, &run.options, left)?;
            let skipped = origin.checks_version()
                || perennial_failpoints::planted!("version-not-asked-again");
            if !skipped && origin.version(object, left)? != *version {
                return Err(OriginError::Changed);
            }
            Ok(read)
        };
        let wanted = to_usize(range.end - range.start);
        let failed = match guarded(asked) {
            Ok(read) if read > wanted => {
                format!("it says that it gave {read} bytes where {wanted} were asked for").into()
            }
            Ok(read) => {
                self.counters.origin_bytes.add(read as u64);
                self.counters.origin_failures.add(u64::from(read < wanted));
                return Asked::Read(read);
            }
            Err(OriginError::Changed) => {
                self.heads.of(object).doubt(version);
                return Asked::Changed;
            }
            Err(OriginError::Failed(why)) => why,
        };
        let counters = &self.counters;
        let count = if left.is_so() {
            &counters.unwanted_fetches
        } else {
            &counters.origin_failures
        };
        count.add(1);
        let Range { start, end } = range;
        let message =
            format!("the origin failed to give bytes {start} to {end} of {object}: {failed}");
        Asked::Failed(Error::new(ErrorKind::Origin, message).with_source(failed))
    }

    /// `at_once`: without waiting for room.
    fn keep(
        self: &Arc<Self>,
        claim: &Claim<Bytes>,
        stake: &Stake,
        block: &Bytes,
        at_once: bool,
    ) -> Kept {
        let began_ns = self.now_ns();
        let kept = if perennial_failpoints::planted!("block-kept-whatever-happened") {
            self.cache.insert(&claim.key, block)
        } else {
            stake.keep(block, at_once)
        };
        let took_ns = self.now_ns().saturating_sub(began_ns);
        self.times.disk_write.add(took_ns);
        match kept {
            Ok(Inserted::Stored) => {
                self.counters.filled_blocks.add(1);
                self.flush_if_due();
                Kept::Stored
            }
            Ok(Inserted::Rejected(Rejection::Busy)) => Kept::NoRoom,
            Ok(Inserted::Rejected(why)) => {
                tracing::debug!(?why, "a block is not kept");
                Kept::Refused
            }
            Err(error) => {
                tracing::debug!(%error, "a block is not kept");
                Kept::Refused
            }
        }
    }

    fn flush_if_due(self: &Arc<Self>) {
        let unflushed = self.unflushed.fetch_add(1, Ordering::Relaxed) + 1;
        // At each multiple, for the chore before may have been dropped.
        let due = |every| unflushed.is_multiple_of(every);
        if self.plan.flush_every.is_some_and(due) {
            self.do_some_time(Work::Flush);
        }
    }
}

/// What became of a block in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    Stored,
    /// It may be tried again.
    NoRoom,
    /// It was removed meanwhile, is not admitted, or the cache fails.
    Refused,
}

/// A block that its readers have and the cache has not.
pub(super) struct Late {
    claim: Claim<Bytes>,
    stake: Stake,
    block: Bytes,
}

/// The bytes of a run, cut into blocks.
struct Fetched {
    cut: Cut,
    bytes: Bytes,
    asked: Asked,
}

impl Fetched {
    fn landing(&self, first: u64, number: u64) -> Landing<Bytes> {
        let good = match &self.asked {
            Asked::Read(good) => *good,
            Asked::Changed => return Landing::Changed,
            Asked::Failed(error) => return Landing::Failed(error.clone()),
        };
        let at = to_usize(self.cut.bytes(number).start - self.cut.bytes(first).start);
        let end = at + self.cut.bytes_of(number);
        if end > good && !perennial_failpoints::planted!("short-block-as-full") {
            let message = format!(
                "the origin gave {} of {} bytes of block {number}",
                good.saturating_sub(at),
                end - at
            );
            return Landing::Failed(Error::new(ErrorKind::Origin, message));
        }
        Landing::Good(self.bytes.slice(at..end))
    }
}
