//! What a run leaves behind: samples, and the machine they come from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::measure::spread::Spread;

/// Figures by name. Units are the names' ends: `_ns`, `_s`, `_bytes`, `_per_s`.
pub(crate) type Metrics = BTreeMap<String, f64>;

/// One workload on one store, once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// As `fill/4KiB` or `hit/disk/zipf/2t`.
    pub(crate) workload: String,
    pub(crate) backend: String,
    pub(crate) repeat: u32,
    pub(crate) metrics: Metrics,
}

/// A sample that could not be taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Missing {
    pub(crate) workload: String,
    pub(crate) backend: String,
    pub(crate) repeat: u32,
    pub(crate) why: String,
}

/// A whole run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) command: String,
    pub(crate) quick: bool,
    pub(crate) began: String,
    pub(crate) seconds: f64,
    pub(crate) machine: Vec<(String, String)>,
    pub(crate) samples: Vec<Sample>,
    pub(crate) missing: Vec<Missing>,
}

impl Run {
    /// In the order they were first seen.
    pub(crate) fn workloads(&self) -> Vec<&str> {
        first_seen(self.samples.iter().map(|sample| sample.workload.as_str()))
    }

    pub(crate) fn backends(&self, workload: &str) -> Vec<&str> {
        let of_it = self
            .samples
            .iter()
            .filter(|sample| sample.workload == workload);
        first_seen(of_it.map(|sample| sample.backend.as_str()))
    }

    /// Metric names of a workload.
    pub(crate) fn metrics(&self, workload: &str) -> Vec<&str> {
        let of_it = self
            .samples
            .iter()
            .filter(|sample| sample.workload == workload);
        first_seen(of_it.flat_map(|sample| sample.metrics.keys().map(String::as_str)))
    }

    pub(crate) fn spread(&self, workload: &str, backend: &str, metric: &str) -> Option<Spread> {
        let figures: Vec<f64> = self
            .samples
            .iter()
            .filter(|sample| sample.workload == workload && sample.backend == backend)
            .filter_map(|sample| sample.metrics.get(metric).copied())
            .collect();
        Spread::of(&figures)
    }

    pub(crate) fn median(&self, workload: &str, backend: &str, metric: &str) -> Option<f64> {
        Some(self.spread(workload, backend, metric)?.median)
    }
}

fn first_seen<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = Vec::new();
    for name in names {
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    seen
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A run out of workload, backend, metric, figure; each line a repeat.
    pub(crate) fn run(lines: &[(&str, &str, &str, f64)]) -> Run {
        let samples = lines
            .iter()
            .map(|(workload, backend, metric, figure)| Sample {
                workload: (*workload).to_owned(),
                backend: (*backend).to_owned(),
                repeat: 0,
                metrics: Metrics::from([((*metric).to_owned(), *figure)]),
            })
            .collect();
        Run {
            samples,
            ..Run::default()
        }
    }

    #[test]
    fn medians_are_over_the_repeats_of_one_backend() {
        let run = run(&[
            ("fill/4KiB", "a", "x", 1.0),
            ("fill/4KiB", "b", "x", 50.0),
            ("fill/4KiB", "a", "x", 3.0),
            ("fill/4KiB", "a", "x", 2.0),
            ("fill/1MiB", "a", "x", 9.0),
        ]);
        assert_eq!(run.median("fill/4KiB", "a", "x"), Some(2.0));
        assert_eq!(run.median("fill/4KiB", "a", "y"), None);
        assert_eq!(run.workloads(), ["fill/4KiB", "fill/1MiB"]);
        assert_eq!(run.backends("fill/4KiB"), ["a", "b"]);
    }

    #[test]
    fn a_run_survives_json() {
        let run = run(&[("w", "b", "m", 0.1)]);
        let json = serde_json::to_string(&run).unwrap();
        assert_eq!(serde_json::from_str::<Run>(&json).unwrap(), run);
    }
}
