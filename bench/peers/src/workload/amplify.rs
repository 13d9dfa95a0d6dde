//! Bytes that reach the device for each byte of key and value put. Nothing is evicted.

use std::fs::File;
use std::time::{Duration, Instant};

use super::setup::{MEMORY_BYTES, Task};
use super::{Part, note};
use crate::backend::Backend;
use crate::data::{KEY_BYTES, Values, key};
use crate::failure::Result;
use crate::measure::disk;
use crate::record::Metrics;

/// Of a paced run, in bytes a second.
const PACE: f64 = 1e6;
/// A paced put waits for its time once in so many bytes.
const BURST_BYTES: f64 = 10_000.0;

pub(super) fn run(task: &Task<'_>, bytes: usize, paced: bool) -> Result<Vec<Part>> {
    let values = Values::new(bytes);
    let store = task.open(task.effort.amplify_capacity(bytes), MEMORY_BYTES)?;
    store.flush()?;
    sync(task)?;
    let (device, process) = (disk::device_written(task.dir)?, disk::process_written()?);
    let put = if paced {
        put_slowly(task, &*store, &values)?
    } else {
        put_quickly(task, &*store, &values)?
    };
    store.flush()?;
    let figures = store.figures();
    store.close()?;
    sync(task)?;
    let payload = put as f64 * (bytes + KEY_BYTES) as f64;
    let mut metrics = Metrics::new();
    note(&mut metrics, "entries", put as f64);
    let of_device = disk::device_written(task.dir)? - device;
    note(
        &mut metrics,
        "write_amplification",
        of_device as f64 / payload,
    );
    let of_process = disk::process_written()? - process;
    note(
        &mut metrics,
        "write_amplification_of_process",
        of_process as f64 / payload,
    );
    note(&mut metrics, "disk_bytes", disk::used(task.dir)? as f64);
    for (name, figure) in figures {
        if matches!(name, "checkpoints" | "checkpoint_bytes" | "evicted") {
            note(&mut metrics, name, figure);
        }
    }
    Ok(Part::whole(metrics))
}

fn sync(task: &Task<'_>) -> Result<()> {
    Ok(rustix::fs::syncfs(File::open(task.dir)?)?)
}

fn put_quickly(task: &Task<'_>, store: &dyn Backend, values: &Values) -> Result<u64> {
    let entries = task.effort.amplify_bytes(values.bytes()) / (values.bytes() + KEY_BYTES) as u64;
    task.put_all(store, values, 0, entries)
}

fn put_slowly(task: &Task<'_>, store: &dyn Backend, values: &Values) -> Result<u64> {
    let each = (values.bytes() + KEY_BYTES) as f64;
    let burst = (BURST_BYTES / each).max(1.0) as u64;
    let started = Instant::now();
    let mut put = 0;
    while started.elapsed() < task.effort.paced() {
        for _ in 0..burst {
            store.put(&key(put), values.of(put))?;
            put += 1;
        }
        let due = Duration::from_secs_f64(put as f64 * each / PACE);
        std::thread::sleep(due.saturating_sub(started.elapsed()));
    }
    Ok(put)
}
