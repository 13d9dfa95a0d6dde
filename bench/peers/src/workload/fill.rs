//! Fresh keys, one thread, and a flush at the end.

use std::time::Instant;

use super::setup::{FILLER, MEMORY_BYTES, Task};
use super::{Part, note};
use crate::backend::{Backend, Kind};
use crate::data::{KEY_BYTES, Values, key};
use crate::failure::{Failure, Result};
use crate::limit::bare_loop::BareLoop;
use crate::limit::device;
use crate::measure::disk;
use crate::measure::latency::Latency;
use crate::measure::machine::Meter;
use crate::record::Metrics;

/// Smaller values are counted, larger ones weighed.
const SMALL: usize = 4096;
/// So many of the keys put last are looked for.
const LOOKED_FOR: u64 = 1000;

pub(super) fn run(task: &Task<'_>, bytes: usize) -> Result<Vec<Part>> {
    let metrics = match task.kind {
        Kind::Device => of_device(task)?,
        Kind::BareLoop => of_bare_loop(task, bytes),
        _ => of_store(task, bytes)?,
    };
    Ok(Part::whole(metrics))
}

fn entries(task: &Task<'_>, bytes: usize) -> u64 {
    if bytes < SMALL {
        task.effort.fill_entries()
    } else {
        task.effort.fill_bytes() / bytes as u64
    }
}

fn of_device(task: &Task<'_>) -> Result<Metrics> {
    let effort = task.effort;
    let rate = device::sequential_write(
        task.dir,
        effort.small_capacity(),
        effort.fill_bytes(),
        effort.fill(),
    )?;
    Ok(Metrics::from([("bytes_per_s".to_owned(), rate)]))
}

fn of_bare_loop(task: &Task<'_>, bytes: usize) -> Metrics {
    let values = Values::new(bytes);
    let entries = entries(task, bytes);
    let (done, seconds) = BareLoop::new(entries).run(&values, entries, task.effort.fill());
    let mut metrics = Metrics::new();
    rates(&mut metrics, done, bytes, seconds);
    note(&mut metrics, "put_ops_per_s", done as f64 / seconds);
    metrics
}

fn rates(metrics: &mut Metrics, done: u64, bytes: usize, seconds: f64) {
    note(metrics, "ops_per_s", done as f64 / seconds);
    note(
        metrics,
        "bytes_per_s",
        (done * (bytes + KEY_BYTES) as u64) as f64 / seconds,
    );
}

fn of_store(task: &Task<'_>, bytes: usize) -> Result<Metrics> {
    let values = Values::new(bytes);
    // A cache is full most of its life; small values are about what an insert costs, before anything is evicted.
    let large = bytes >= SMALL;
    let capacity = if large {
        task.effort.small_capacity()
    } else {
        task.effort.large_capacity()
    };
    let store = task.open(capacity, MEMORY_BYTES)?;
    if large && task.kind.is_bounded() && task.kind.is_on_disk() {
        task.put_all(&*store, &values, FILLER, capacity / bytes as u64)?;
        store.flush()?;
    }
    let mut metrics = put(task, &*store, &values)?;
    note(&mut metrics, "disk_bytes", disk::used(task.dir)? as f64);
    let put = metrics["entries"] as u64;
    let kept = kept(&*store, &values, put, capacity)?;
    if task.kind != Kind::Harness {
        note(&mut metrics, "kept", kept);
        // What is dropped costs nothing: a rate of puts that are still there.
        for (name, rate) in [
            ("kept_ops_per_s", "ops_per_s"),
            ("kept_bytes_per_s", "bytes_per_s"),
        ] {
            let rate = metrics[rate] * kept;
            note(&mut metrics, name, rate);
        }
    }
    store.close()?;
    Ok(metrics)
}

fn put(task: &Task<'_>, store: &dyn Backend, values: &Values) -> Result<Metrics> {
    let entries = entries(task, values.bytes());
    let mut latency = Latency::every(if values.bytes() < SMALL { 16 } else { 1 });
    let meter = Meter::start()?;
    let started = Instant::now();
    let mut done = 0;
    while done < entries && (done % 16 != 0 || started.elapsed() < task.effort.fill()) {
        latency.time(|| store.put(&key(done), values.of(done)))?;
        done += 1;
    }
    let putting = started.elapsed().as_secs_f64();
    store.flush()?;
    let seconds = started.elapsed().as_secs_f64();
    let mut metrics = Metrics::new();
    rates(&mut metrics, done, values.bytes(), seconds);
    note(&mut metrics, "put_ops_per_s", done as f64 / putting);
    note(&mut metrics, "flush_s", seconds - putting);
    note(&mut metrics, "entries", done as f64);
    let gigabytes = (done * (values.bytes() + KEY_BYTES) as u64) as f64 / 1e9;
    note(&mut metrics, "cpu_s_per_gb", meter.cpu_s() / gigabytes);
    latency.put_into(&mut metrics, "put_");
    Ok(metrics)
}

/// Which part of the newest keys is there; those of half the capacity should all be.
fn kept(store: &dyn Backend, values: &Values, put: u64, capacity: u64) -> Result<f64> {
    let newest = put
        .min(capacity / 2 / (values.bytes() + KEY_BYTES) as u64)
        .max(1);
    let looked_for = newest.min(LOOKED_FOR);
    let (mut found, mut wrong) = (0, 0);
    for n in 0..looked_for {
        let n = put - newest + n * newest / looked_for;
        let look = &mut |got: &[u8]| wrong += u64::from(!values.is(n, got));
        found += u64::from(store.get(&key(n), look)?);
    }
    if wrong > 0 {
        return Err(Failure::new(format!("{wrong} values are not what was put")));
    }
    Ok(found as f64 / looked_for as f64)
}
