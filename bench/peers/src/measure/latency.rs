//! How long single calls take.

use std::time::Instant;

use hdrhistogram::Histogram;

use crate::record::Metrics;

/// Nothing here takes longer, in nanoseconds.
const MOST_NS: u64 = 600_000_000_000;

/// Times one call in so many: reading the clock takes as long as a hit in memory.
pub(crate) struct Latency {
    every: u64,
    calls: u64,
    histogram: Histogram<u64>,
}

impl Latency {
    pub(crate) fn every(every: u64) -> Self {
        let histogram = Histogram::new_with_max(MOST_NS, 3).expect("bounds that fit");
        Self {
            every,
            calls: 0,
            histogram,
        }
    }

    pub(crate) fn time<T>(&mut self, call: impl FnOnce() -> T) -> T {
        self.calls += 1;
        if !self.calls.is_multiple_of(self.every) {
            return call();
        }
        let started = Instant::now();
        let result = call();
        self.record(u64::try_from(started.elapsed().as_nanos()).unwrap_or(MOST_NS));
        result
    }

    pub(crate) fn record(&mut self, ns: u64) {
        self.histogram.saturating_record(ns.max(1));
    }

    pub(crate) fn calls(&self) -> u64 {
        self.calls
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.calls += other.calls;
        // Both have the same bounds.
        let _ = self.histogram.add(&other.histogram);
    }

    /// In nanoseconds; 0 where nothing was timed.
    pub(crate) fn quantile_ns(&self, quantile: f64) -> u64 {
        self.histogram.value_at_quantile(quantile)
    }

    /// `p50_ns`, `p90_ns`, `p99_ns`, `p999_ns` and `max_ns`, with a prefix.
    pub(crate) fn put_into(&self, metrics: &mut Metrics, prefix: &str) {
        if self.histogram.is_empty() {
            return;
        }
        for (name, quantile) in [
            ("p50", 0.5),
            ("p90", 0.9),
            ("p99", 0.99),
            ("p999", 0.999),
            ("max", 1.0),
        ] {
            let name = format!("{prefix}{name}_ns");
            metrics.insert(name, self.quantile_ns(quantile) as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_what_was_recorded() {
        let mut latency = Latency::every(1);
        (1..=1000).for_each(|ns| latency.record(ns));
        assert_eq!(latency.quantile_ns(0.5), 500);
        assert_eq!(latency.quantile_ns(0.99), 990);
        assert_eq!(latency.quantile_ns(0.999), 999);
        let mut metrics = Metrics::new();
        latency.put_into(&mut metrics, "get_");
        assert_eq!(metrics["get_p50_ns"], 500.0);
        assert_eq!(metrics["get_max_ns"], 1000.0);
    }

    #[test]
    fn one_call_in_so_many_is_timed() {
        let mut latency = Latency::every(8);
        (0..80).for_each(|_| latency.time(|| ()));
        assert_eq!((latency.calls(), latency.histogram.len()), (80, 10));
        let mut metrics = Metrics::new();
        Latency::every(1).put_into(&mut metrics, "");
        assert!(metrics.is_empty(), "nothing was timed");
    }

    #[test]
    fn merging_adds() {
        let (mut one, mut other) = (Latency::every(1), Latency::every(1));
        one.record(10);
        other.record(1000);
        one.merge(&other);
        assert_eq!((one.histogram.len(), one.quantile_ns(1.0)), (2, 1000));
    }
}
