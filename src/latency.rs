//! How long something takes, as a histogram.

use std::fmt;

use hdrhistogram::Histogram;

use crate::sync::Mutex;

/// The longest time that is told apart: an hour.
const LONGEST_NS: u64 = 3_600_000_000_000;

/// How long something took, in nanoseconds, to two digits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Latency {
    /// How often.
    pub count: u64,
    /// Half took no longer.
    pub p50_ns: u64,
    /// 99 of 100 took no longer.
    pub p99_ns: u64,
    /// 999 of 1000 took no longer.
    pub p999_ns: u64,
    /// The longest.
    pub max_ns: u64,
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = |ns: u64| ns.div_ceil(1000);
        write!(
            f,
            "{} us at the median, {} at 99 %, {} at most ({} times)",
            us(self.p50_ns),
            us(self.p99_ns),
            us(self.max_ns),
            self.count
        )
    }
}

/// Times of one kind. What is timed takes a microsecond and more; the lock, some ten nanoseconds.
#[derive(Debug)]
pub(crate) struct Times(Mutex<Histogram<u64>>);

impl Default for Times {
    fn default() -> Self {
        // It grows with what it is told: of an hour in full each would take 36 KiB, and a cache has a dozen.
        #[expect(clippy::expect_used, reason = "two digits are as many as there may be")]
        let histogram = Histogram::new(2).expect("two digits");
        Self(Mutex::new(histogram))
    }
}

impl Times {
    pub(crate) fn add(&self, ns: u64) {
        // It cannot fail: so long can be told apart on any machine.
        let _ = self.0.lock().record(ns.clamp(1, LONGEST_NS));
    }

    pub(crate) fn told(&self) -> Latency {
        let times = self.0.lock();
        Latency {
            count: times.len(),
            p50_ns: times.value_at_quantile(0.5),
            p99_ns: times.value_at_quantile(0.99),
            p999_ns: times.value_at_quantile(0.999),
            max_ns: times.max(),
        }
    }
}
