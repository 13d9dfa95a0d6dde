//! Puts that survive power loss when they return: 4 KiB, some threads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::setup::{MEMORY_BYTES, Task};
use super::{Part, note};
use crate::backend::Kind;
use crate::data::{Values, key};
use crate::failure::Result;
use crate::limit::device;
use crate::measure::latency::Latency;
use crate::measure::machine::Meter;
use crate::record::Metrics;

const VALUE_BYTES: usize = 4096;

pub(super) fn run(task: &Task<'_>, threads: usize) -> Result<Vec<Part>> {
    let mut metrics = Metrics::new();
    let (rate, latency) = if task.kind == Kind::Device {
        device::synced_appends(task.dir, task.effort.measure())?
    } else {
        of_store(task, threads, &mut metrics)?
    };
    note(&mut metrics, "ops_per_s", rate);
    latency.put_into(&mut metrics, "put_");
    Ok(Part::whole(metrics))
}

fn of_store(task: &Task<'_>, threads: usize, metrics: &mut Metrics) -> Result<(f64, Latency)> {
    let store = task.open(task.effort.small_capacity(), MEMORY_BYTES)?;
    let values = Values::new(VALUE_BYTES);
    let next = AtomicU64::new(0);
    let limit = task.effort.measure();
    let meter = Meter::start()?;
    let started = Instant::now();
    let one = || -> Result<Latency> {
        let mut latency = Latency::every(1);
        while started.elapsed() < limit {
            let n = next.fetch_add(1, Ordering::Relaxed);
            latency.time(|| store.put_durable(&key(n), values.of(n)))?;
        }
        Ok(latency)
    };
    let latency = std::thread::scope(|scope| -> Result<Latency> {
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        let mut sum = Latency::every(1);
        for thread in all {
            sum.merge(&thread.join().expect("a thread panicked")?);
        }
        Ok(sum)
    })?;
    let rate = latency.calls() as f64 / started.elapsed().as_secs_f64();
    note(
        metrics,
        "cpu_us_per_put",
        1e6 * meter.cpu_s() / latency.calls() as f64,
    );
    store.close()?;
    Ok((rate, latency))
}
