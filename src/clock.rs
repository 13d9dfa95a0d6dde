//! The time that entries end by: it never goes back (hole 37 in `docs/recovery.md`).
//!
//! ```text
//!   wall clock   10:00 ────── 10:20 ─┐ set back
//!                                     └ 9:40 ────── 10:00 ──────
//!   told         10:00 ────── 10:20 ─────── 10:30 ─ 10:40 ─────      the monotonic clock goes on from the newest seen
//! ```
//! The newest second is in every checkpoint, and a life begins with it.

use perennial_failpoints::fs::Fs;

use crate::sync::Mutex;

/// The newest time seen.
#[derive(Debug)]
pub(crate) struct Clock {
    newest: Mutex<Seen>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    /// On the wall clock, in milliseconds since 1970.
    wall_ms: u64,
    /// On the monotonic clock, in nanoseconds.
    at_ns: u64,
}

/// No frame can carry a later end: a clock beyond it is wrong, and not believed.
const BEYOND_MS: u64 = (u32::MAX as u64) * 1000;

impl Clock {
    /// Time has come to `seen_s`, in seconds since 1970, in an earlier life.
    pub(crate) fn new(fs: &dyn Fs, seen_s: u64) -> Self {
        let newest = Mutex::new(Seen {
            wall_ms: seen_s.saturating_mul(1000).min(BEYOND_MS),
            at_ns: fs.monotonic_ns(),
        });
        Self { newest }
    }

    /// Now, in milliseconds since 1970: never less than before.
    pub(crate) fn now_ms(&self, fs: &dyn Fs) -> u64 {
        let mut newest = self.newest.lock();
        let (wall_ms, at_ns) = (fs.unix_time_ms(), fs.monotonic_ns());
        let passed_ms = at_ns.saturating_sub(newest.at_ns) / 1_000_000;
        let told_ms = newest.wall_ms.saturating_add(passed_ms);
        if wall_ms <= told_ms || wall_ms > BEYOND_MS {
            return told_ms;
        }
        *newest = Seen { wall_ms, at_ns };
        wall_ms
    }

    /// The same in whole seconds.
    pub(crate) fn now_s(&self, fs: &dyn Fs) -> u64 {
        self.now_ms(fs) / 1000
    }
}

#[cfg(test)]
mod tests {
    use perennial_failpoints::SimFs;

    use super::*;

    #[test]
    fn time_goes_on_where_the_clock_goes_back() {
        let fs = SimFs::new(1);
        let clock = Clock::new(&fs, 0);
        let begin = fs.unix_time_ms();
        assert_eq!(clock.now_ms(&fs), begin);
        fs.advance(5_000);
        assert_eq!(clock.now_ms(&fs), begin + 5_000);
        fs.set_unix_time_ms(begin - 100_000);
        assert_eq!(clock.now_ms(&fs), begin + 5_000);
        fs.advance(2_000);
        assert_eq!(clock.now_ms(&fs), begin + 7_000, "as the monotonic clock");
        fs.set_unix_time_ms(begin + 60_000);
        assert_eq!(clock.now_ms(&fs), begin + 60_000, "the clock counts again");
    }

    #[test]
    fn what_an_earlier_life_saw_counts() {
        let fs = SimFs::new(1);
        let later_s = fs.unix_time_ms() / 1000 + 500;
        let clock = Clock::new(&fs, later_s);
        assert_eq!(clock.now_s(&fs), later_s);
        fs.advance(3_000);
        assert_eq!(clock.now_s(&fs), later_s + 3);
    }

    #[test]
    fn a_clock_that_is_beyond_all_ends_is_not_believed() {
        let fs = SimFs::new(1);
        let clock = Clock::new(&fs, 0);
        let now = clock.now_ms(&fs);
        fs.set_unix_time_ms(u64::MAX);
        assert_eq!(clock.now_ms(&fs), now);
    }
}
