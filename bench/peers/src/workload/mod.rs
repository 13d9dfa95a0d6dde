//! What is asked of every store. Each sample is taken by a process of its own.

mod amplify;
mod bound;
mod busy;
mod churn;
mod durable;
mod effort;
mod fill;
mod footprint;
mod hits;
mod miss;
mod mixed;
mod name;
mod restart;
mod setup;

use std::path::Path;

use crate::backend::Kind;
use crate::failure::Result;
use crate::measure::machine::Meter;
use crate::record::{Metrics, Sample};
pub(crate) use effort::Effort;
pub(crate) use hits::applies as hits_apply;
pub(crate) use name::{Ending, Place, Workload};
pub(crate) use restart::{Life, live};
use setup::Task;

/// Takes the samples of one workload on one store in the empty directory `dir`.
pub(crate) fn run(
    workload: Workload,
    kind: Kind,
    dir: &Path,
    effort: Effort,
    repeat: u32,
) -> Result<Vec<Sample>> {
    let task = Task { kind, dir, effort };
    let meter = Meter::start()?;
    let parts = match workload {
        Workload::Fill { bytes } => fill::run(&task, bytes)?,
        Workload::Durable { threads } => durable::run(&task, threads)?,
        Workload::Hits { place } => hits::run(&task, place)?,
        Workload::Miss { keys } => miss::run(&task, keys)?,
        Workload::Range => hits::run_ranges(&task)?,
        Workload::Mixed { bytes } => mixed::run(&task, bytes)?,
        Workload::Churn => churn::run(&task)?,
        Workload::Restart { entries, ending } => restart::run(&task, entries, ending)?,
        Workload::Memory { entries } => footprint::run(&task, entries)?,
        Workload::Amplify { bytes, paced } => amplify::run(&task, bytes, paced)?,
        Workload::Busy => busy::run(&task)?,
    };
    let others = meter.others()?;
    Ok(parts
        .into_iter()
        .map(
            |Part {
                 suffix,
                 mut metrics,
             }| {
                metrics.insert("others_cpu".to_owned(), others);
                let workload = format!("{workload}{suffix}");
                let backend = kind.name().to_owned();
                Sample {
                    workload,
                    backend,
                    repeat,
                    metrics,
                }
            },
        )
        .collect())
}

/// What one measurement of a workload found; most have but one.
pub(crate) struct Part {
    /// What comes behind the workload's name, as `/zipf/2t`.
    suffix: String,
    metrics: Metrics,
}

impl Part {
    fn whole(metrics: Metrics) -> Vec<Self> {
        vec![Self {
            suffix: String::new(),
            metrics,
        }]
    }
}

/// Adds a figure.
fn note(metrics: &mut Metrics, name: &str, figure: f64) {
    metrics.insert(name.to_owned(), figure);
}
