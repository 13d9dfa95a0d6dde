//! How operations ended, and how long each took.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::report::Phase;
use crate::failure::Failure;

/// What became of a thread's operations.
pub(super) struct Tally {
    latency_ns: Histogram<u64>,
    pub(super) hits: u64,
    pub(super) misses: u64,
    pub(super) wrong: u64,
}

impl Tally {
    pub(super) fn new() -> Result<Self, Failure> {
        Ok(Self {
            latency_ns: Histogram::new(3).map_err(|_| Failure::Histogram)?,
            hits: 0,
            misses: 0,
            wrong: 0,
        })
    }

    pub(super) fn count(&mut self, took: Duration) -> Result<(), Failure> {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.latency_ns.record(ns).map_err(|_| Failure::Histogram)
    }

    pub(super) fn add(&mut self, other: &Self) -> Result<(), Failure> {
        self.hits += other.hits;
        self.misses += other.misses;
        self.wrong += other.wrong;
        let added = self.latency_ns.add(&other.latency_ns);
        added.map_err(|_| Failure::Histogram)
    }

    #[expect(clippy::cast_precision_loss, reason = "for people, to some digits")]
    pub(super) fn phase(&self, name: &'static str, value_bytes: u64, took: Duration) -> Phase {
        let latency_us = |quantile| self.latency_ns.value_at_quantile(quantile) as f64 / 1000.0;
        let operations = self.latency_ns.len();
        let moved = operations - self.misses;
        let seconds = took.as_secs_f64().max(f64::MIN_POSITIVE);
        Phase {
            name,
            operations,
            hits: self.hits,
            misses: self.misses,
            wrong: self.wrong,
            seconds,
            operations_per_second: operations as f64 / seconds,
            mib_per_second: (moved * value_bytes) as f64 / f64::from(1 << 20) / seconds,
            p50_us: latency_us(0.5),
            p99_us: latency_us(0.99),
            p999_us: latency_us(0.999),
            max_us: self.latency_ns.max() as f64 / 1000.0,
        }
    }
}
