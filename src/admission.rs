//! Which inserts are worth being written.
//!
//! ```text
//!   offers ──▶ admits? ──▶ the log ──▶ bytes written, copies and checkpoints among them ─┐
//!                 ▲──────────────── how many offers to let through from now on ◀──────────┘
//! ```
//! The budget is CacheLib's *dynamic random* admission: offers are let through at random, and how many is worked out anew
//! every second from what was really written.

use std::fmt;
use std::ops::RangeInclusive;

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::sync::{Mutex, Ordering};

/// An insert that somebody wants to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Offer {
    /// The hash of the key.
    pub hash: u64,
    /// Bytes of the value.
    pub value_bytes: u64,
    /// Milliseconds since 1970; never less than before.
    pub now_ms: u64,
    /// Bytes that the cache has written since it was opened: what was inserted, copies, checkpoints.
    pub written_bytes: u64,
}

/// Decides which inserts are made. Of a key whose insert is not, an older version is removed.
///
/// It is asked by every thread that inserts, before anything is written, and should be quick. Pinned entries are not asked
/// about.
pub trait Admission: fmt::Debug + Send + Sync {
    /// Whether the insert is made.
    fn admits(&self, offer: &Offer) -> bool;
}

/// Values of some sizes only.
#[derive(Debug, Clone)]
pub struct ValueSize(RangeInclusive<u64>);

impl ValueSize {
    /// Admits values of `bytes` bytes.
    #[must_use]
    pub const fn new(bytes: RangeInclusive<u64>) -> Self {
        Self(bytes)
    }
}

impl Admission for ValueSize {
    fn admits(&self, offer: &Offer) -> bool {
        self.0.contains(&offer.value_bytes)
    }
}

/// What all of several admit.
#[derive(Debug)]
pub struct AdmittedByAll(Vec<Box<dyn Admission>>);

impl AdmittedByAll {
    /// Asks each in this order, until one says no.
    #[must_use]
    pub fn new(each: Vec<Box<dyn Admission>>) -> Self {
        Self(each)
    }
}

impl Admission for AdmittedByAll {
    fn admits(&self, offer: &Offer) -> bool {
        self.0.iter().all(|one| one.admits(offer))
    }
}

/// As many inserts, chosen at random, as keep what is written within so many bytes a second.
#[derive(Debug)]
pub struct WriteBudget {
    bytes_per_s: u64,
    state: Mutex<State>,
}

/// How often the share is worked out anew.
const WINDOW_MS: u64 = 1000;
/// What was not used is there for so many seconds more, and what was overdrawn is paid back over as many at most.
const MEMORY_S: u64 = 10;
/// All of the offers.
const ALL: u64 = 1 << 32;

#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// When the window began; 0 = there is none yet.
    begun_ms: u64,
    written_at_begin: u64,
    offered_bytes: u64,
    admitted_bytes: u64,
    /// Bytes that may be written beyond the rate, or, below 0, that were.
    credit: i64,
    /// Of [`ALL`].
    share: u64,
    draws: u64,
    /// Windows before this one.
    windows: u64,
}

impl WriteBudget {
    /// A budget of so many bytes a second. A second is the finest it knows: within one it may be exceeded. In the first one
    /// offers are admitted as they come, until the second's bytes are written.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for 0 and for more than 1 TiB.
    pub fn new(bytes_per_s: u64) -> Result<Self> {
        if bytes_per_s == 0 || bytes_per_s > 1 << 40 {
            return Err(Error::invalid(format!(
                "the write budget is {bytes_per_s}; choose from 1 byte to 1 TiB a second"
            )));
        }
        Ok(Self {
            bytes_per_s,
            state: Mutex::new(State::default()),
        })
    }
}

impl Admission for WriteBudget {
    fn admits(&self, offer: &Offer) -> bool {
        let mut state = self.state.lock();
        if state.begun_ms == 0 {
            (state.begun_ms, state.share) = (offer.now_ms.max(1), ALL);
            state.written_at_begin = offer.written_bytes;
        }
        if offer.now_ms >= state.begun_ms + WINDOW_MS {
            state.next_window(self.bytes_per_s, offer);
        }
        state.offered_bytes += offer.value_bytes;
        state.draws += 1;
        let admitted = if state.windows == 0 {
            // Nobody knows yet what will be offered.
            let written = offer.written_bytes.saturating_sub(state.written_at_begin);
            written.max(state.admitted_bytes) < self.bytes_per_s
        } else {
            spread(state.draws) >> 32 < state.share
        };
        state.admitted_bytes += if admitted { offer.value_bytes } else { 0 };
        admitted
    }
}

impl State {
    fn next_window(&mut self, bytes_per_s: u64, offer: &Offer) {
        let passed_ms = (offer.now_ms - self.begun_ms).min(1000 * MEMORY_S);
        let written = offer.written_bytes.saturating_sub(self.written_at_begin);
        let earned = signed(bytes_per_s * passed_ms / 1000);
        let most = signed(bytes_per_s * MEMORY_S);
        self.credit = (self.credit + earned - signed(written)).clamp(-most, most);
        // Of one second: the rate, and a part of what is left over or owed.
        let may = (signed(bytes_per_s) + self.credit / 2)
            .max(0)
            .unsigned_abs();
        // What all offers of one second would write, by what the admitted ones wrote.
        let offered = u128::from(self.offered_bytes) * 1000 / u128::from(passed_ms.max(1));
        let (written, admitted) = (u128::from(written), u128::from(self.admitted_bytes));
        let all = (offered * written).checked_div(admitted);
        let all = all.map_or(offered, |all| all.max(offered));
        let share = u128::from(ALL) * u128::from(may) / all.max(1);
        self.share = u64::try_from(share).unwrap_or(ALL).min(ALL);
        self.windows += 1;
        (self.begun_ms, self.written_at_begin) = (offer.now_ms, offer.written_bytes);
        (self.offered_bytes, self.admitted_bytes) = (0, 0);
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood, 2014): the numbers of draws, spread over 64 bits.
fn spread(n: u64) -> u64 {
    let n = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ n >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ n >> 31
}

impl Engine {
    /// Whether the options let this insert be made.
    pub(crate) fn admits(&self, hash: u64, value_bytes: usize) -> bool {
        let Some(admission) = &self.plan.admission else {
            return true;
        };
        let counters = &self.counters;
        admission.admits(&Offer {
            hash,
            value_bytes: value_bytes as u64,
            now_ms: self.clock.now_ms(&*self.fs),
            written_bytes: counters.stored_bytes.get()
                + counters.moved_bytes.get()
                + counters.checkpoint_bytes.get(),
        })
    }

    /// Asks the upkeep's thread for room in the tail, and does not wait for it.
    pub(crate) fn ask_for_room(&self) {
        self.room_wanted.store(true, Ordering::Release);
        self.signal.wake();
        self.pace.look();
    }

    /// What somebody asked for who did not wait.
    pub(crate) fn make_wanted_room(&self) -> Result<()> {
        if self.room_wanted.swap(false, Ordering::AcqRel) {
            self.log.make_ring_room()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;

    /// Offers values of 1,000 bytes, so many a second, each written `times` over; returns bytes written in each second.
    fn play(budget: &WriteBudget, seconds: Range<u64>, per_s: u64, times: u64) -> Vec<u64> {
        let mut written = 60_000 * u64::from(seconds.start > 0);
        let second = |second: u64| {
            let before = written;
            for n in 0..per_s {
                let offer = Offer {
                    hash: n,
                    value_bytes: 1000,
                    now_ms: 1_000_000 + second * 1000 + n * 1000 / per_s,
                    written_bytes: written,
                };
                written += if budget.admits(&offer) {
                    1000 * times
                } else {
                    0
                };
            }
            written - before
        };
        seconds.map(second).collect()
    }

    #[test]
    fn what_is_written_comes_to_the_budget_whatever_is_offered_and_copied() {
        for (per_s, times) in [(200, 1), (2_000, 1), (2_000, 3), (20_000, 2)] {
            let budget = WriteBudget::new(100_000).unwrap();
            let each = play(&budget, 0..120, per_s, times);
            let last: u64 = each[60..].iter().sum::<u64>() / 60;
            assert!((90_000..110_000).contains(&last), "{per_s} {times}: {last}");
        }
    }

    #[test]
    fn all_is_admitted_while_it_is_little() {
        let budget = WriteBudget::new(100_000).unwrap();
        assert!(
            play(&budget, 0..20, 50, 1)
                .iter()
                .all(|bytes| *bytes == 50_000)
        );
    }

    #[test]
    fn a_storm_in_the_first_second_is_bounded_too() {
        for (per_s, times) in [(200, 1), (2_000, 1), (20_000, 3)] {
            let budget = WriteBudget::new(100_000).unwrap();
            let first = play(&budget, 0..1, per_s, times)[0];
            assert!(
                (100_000..104_000).contains(&first),
                "{per_s} {times}: {first}"
            );
        }
    }

    #[test]
    fn what_was_not_used_is_there_for_a_while_only() {
        let budget = WriteBudget::new(100_000).unwrap();
        play(&budget, 0..60, 1, 1);
        let burst: u64 = play(&budget, 60..120, 2_000, 1).iter().sum();
        assert!(burst < 60 * 100_000 + 11 * 100_000, "{burst}");
    }

    #[test]
    fn sizes_and_all_of_several() {
        let of = |value_bytes| Offer {
            hash: 1,
            value_bytes,
            now_ms: 0,
            written_bytes: 0,
        };
        let sizes = || Box::new(ValueSize::new(10..=20)) as Box<dyn Admission>;
        assert!(sizes().admits(&of(10)) && sizes().admits(&of(20)));
        assert!(!sizes().admits(&of(9)) && !sizes().admits(&of(21)));
        let all = AdmittedByAll::new(vec![sizes(), Box::new(ValueSize::new(0..=15))]);
        assert!(all.admits(&of(12)) && !all.admits(&of(18)));
        assert!(WriteBudget::new(0).is_err());
    }
}
