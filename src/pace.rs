//! Reclaim's own budget of I/O: how fast it reads and copies while nobody needs the room.
//!
//! ```text
//!   upkeep thread   reclaim ─ a piece read and copied ─ within the budget? ─ yes ─▶ the next piece
//!                                                          └ no: waits until it is, or room is urgent
//!   everybody else  needs the upkeep, or the tail to be written out ─▶ room is urgent: the rest goes as fast as it can
//! ```
//! Only the upkeep's thread is ever held back, and only while the segment that is being written is not half full: the other half
//! is the time for a reclaim that came late. What went over the budget is paid back by later pieces.

use std::time::Duration;

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::sync::{AtomicBool, AtomicU64, Condvar, Mutex, Ordering};

/// What was not used is there for so long.
const BURST_NS: u64 = 100_000_000;
/// What room that was urgent took beyond the budget is paid back over at most so long.
const DEBT_NS: u64 = 10_000_000_000;
/// So often somebody who is held back looks how full the segment is.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A token bucket, as the time at which it is full enough again.
#[derive(Debug, Default, Clone, Copy)]
struct Budget {
    free_at_ns: u64,
}

impl Budget {
    fn spend(&mut self, now_ns: u64, bytes: u64, bytes_per_s: u64) {
        let cost_ns = u128::from(bytes) * 1_000_000_000 / u128::from(bytes_per_s.max(1));
        let from = self.free_at_ns.max(now_ns.saturating_sub(BURST_NS));
        self.free_at_ns = from.saturating_add(u64::try_from(cost_ns).unwrap_or(u64::MAX));
    }

    /// Nobody waits for it any more.
    fn forgive(&mut self, now_ns: u64) {
        self.free_at_ns = self.free_at_ns.min(now_ns.saturating_add(DEBT_NS));
    }

    fn wait_ns(&self, now_ns: u64) -> u64 {
        self.free_at_ns.saturating_sub(now_ns)
    }
}

/// The budget, and who must not wait for it.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    budget: Mutex<Budget>,
    /// Something became urgent.
    hurry: Condvar,
    /// How many wait for the right to do upkeep.
    waiting: AtomicU64,
    /// Who has it is the upkeep's thread, which may be held back.
    in_background: AtomicBool,
    stopped: AtomicBool,
}

/// Somebody waits for the right to do upkeep, until this is dropped.
pub(crate) struct Waiting<'a>(&'a Pace);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Pace {
    /// From now on whoever has the right to do upkeep is not held back.
    pub(crate) fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        self.look();
        Waiting(self)
    }

    /// Whoever is held back looks whether it still is.
    pub(crate) fn look(&self) {
        // Not between its look and its wait.
        drop(self.budget.lock());
        self.hurry.notify_all();
    }

    /// Nobody is held back ever after.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.look();
    }

    /// Who has the right to do upkeep now is, or is not, the upkeep's thread.
    pub(crate) fn set_background(&self, background: bool) {
        self.in_background.store(background, Ordering::SeqCst);
    }
}

/// Of [`Options::reclaim_bytes_per_second`](crate::Options::reclaim_bytes_per_second).
pub(crate) fn check(bytes_per_s: Option<u64>) -> Result<()> {
    match bytes_per_s {
        Some(asked) if !(4 << 10..=1 << 40).contains(&asked) => Err(Error::invalid(format!(
            "reclaim_bytes_per_second is {asked}; choose from 4 KiB to 1 TiB"
        ))),
        _ => Ok(()),
    }
}

impl Engine {
    /// Reclaim has read and copied so many bytes, and may be held back for it. Called with no lock but the upkeep's.
    pub(crate) fn pace(&self, bytes: u64) {
        self.counters.reclaim_bytes.add(bytes);
        let Some(bytes_per_s) = self.plan.reclaim_bytes_per_second else {
            return;
        };
        let begun = self.fs.monotonic_ns();
        let mut budget = self.pace.budget.lock();
        budget.spend(begun, bytes, bytes_per_s);
        let mut now = begun;
        while budget.wait_ns(now) > 0 {
            if self.room_is_urgent() {
                budget.forgive(now);
                self.counters.reclaim_hurried.add(1);
                break;
            }
            if now == begun {
                self.counters.reclaim_waits.add(1);
            }
            let wait = Duration::from_nanos(budget.wait_ns(now)).min(LOOK_EVERY);
            budget = self.pace.hurry.wait_for(budget, wait);
            now = self.fs.monotonic_ns();
        }
        self.counters.reclaim_wait_us.add((now - begun) / 1000);
    }

    fn room_is_urgent(&self) -> bool {
        let pace = &self.pace;
        let held_back = pace.in_background.load(Ordering::SeqCst)
            && pace.waiting.load(Ordering::SeqCst) == 0
            && !pace.stopped.load(Ordering::SeqCst)
            && !self.room_wanted.load(Ordering::Acquire);
        !held_back || self.segment_is_half_full()
    }

    /// The one being written.
    fn segment_is_half_full(&self) -> bool {
        let segment_bytes = self.log.geometry().segment_bytes;
        self.log.reserved_end().offset(segment_bytes) >= segment_bytes / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn what_is_spent_comes_to_the_rate() {
        let mut budget = Budget::default();
        let mut now = 5 * SECOND;
        for _ in 0..1000 {
            budget.spend(now, 1000, 100_000);
            now += budget.wait_ns(now);
        }
        // A million bytes at 100,000 a second, less what was there at the start.
        assert_eq!(now, 15 * SECOND - BURST_NS);
    }

    #[test]
    fn what_was_not_used_is_there_for_a_tenth_of_a_second_only() {
        let mut budget = Budget::default();
        budget.spend(50 * SECOND, 10_000, 100_000);
        assert_eq!(budget.wait_ns(50 * SECOND), 0);
        budget.spend(50 * SECOND, 10_000, 100_000);
        assert_eq!(budget.wait_ns(50 * SECOND), SECOND / 10);
        budget.spend(90 * SECOND, 10_000, 100_000);
        assert_eq!(budget.wait_ns(90 * SECOND), 0);
    }

    #[test]
    fn what_went_over_it_is_paid_back_for_a_while_only() {
        let mut budget = Budget::default();
        budget.spend(SECOND, u64::MAX, 1);
        assert_eq!(budget.wait_ns(SECOND), u64::MAX - SECOND);
        budget.forgive(SECOND);
        assert_eq!(budget.wait_ns(SECOND), DEBT_NS);
        assert_eq!(budget.wait_ns(SECOND + DEBT_NS), 0);
    }
}
