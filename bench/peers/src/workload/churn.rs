//! Reading through from a footprint of three times the capacity, zipf: what is missed is put. Until three times the capacity
//! was put.

use std::collections::VecDeque;
use std::time::Instant;

use super::setup::{MEMORY_BYTES, Task};
use super::{Part, note};
use crate::data::{Draw, KEY_BYTES, Values, key};
use crate::failure::{Failure, Result};
use crate::measure::disk;
use crate::measure::latency::Latency;
use crate::measure::machine::Meter;
use crate::record::Metrics;

const VALUE_BYTES: usize = 16 << 10;
const TIMES: u64 = 3;
const DRAWN: usize = 1 << 20;

pub(super) fn run(task: &Task<'_>) -> Result<Vec<Part>> {
    let capacity = task.effort.churn_capacity();
    let fit = capacity / (VALUE_BYTES + KEY_BYTES) as u64;
    let store = task.open(capacity, MEMORY_BYTES)?;
    let values = Values::new(VALUE_BYTES);
    let drawn = Draw::zipf(fit * TIMES).many(DRAWN, 3);
    // Stores without a bound: the harness removes what was put first.
    let mut put_order = VecDeque::new();
    let (mut hits, mut puts) = (0, 0);
    let mut latency = Latency::every(1);
    let written = disk::process_written()?;
    let meter = Meter::start()?;
    let started = Instant::now();
    for &n in drawn.iter().cycle() {
        if puts >= fit * TIMES || started.elapsed() >= task.effort.mixed() {
            break;
        }
        let mut right = true;
        let look = &mut |got: &[u8]| right = values.is(n, got);
        let hit = latency.time(|| store.get(&key(n), look))?;
        if !right {
            return Err(Failure::new(format!(
                "the value of key {n} is not what was put"
            )));
        }
        hits += u64::from(hit);
        if !hit {
            store.put(&key(n), values.of(n))?;
            puts += 1;
            put_order.push_back(n);
        }
        if !task.kind.is_bounded() && put_order.len() as u64 > fit {
            let oldest = put_order.pop_front().unwrap_or(0);
            store.remove(&key(oldest))?;
        }
    }
    store.flush()?;
    let seconds = started.elapsed().as_secs_f64();
    let mut metrics = Metrics::new();
    let put_bytes = puts as f64 * (VALUE_BYTES + KEY_BYTES) as f64;
    note(&mut metrics, "ops_per_s", latency.calls() as f64 / seconds);
    note(
        &mut metrics,
        "hit_ratio",
        hits as f64 / latency.calls().max(1) as f64,
    );
    note(&mut metrics, "put_bytes_per_s", put_bytes / seconds);
    note(&mut metrics, "done", puts as f64 / (fit * TIMES) as f64);
    let written = disk::process_written()? - written;
    note(
        &mut metrics,
        "write_amplification_of_process",
        written as f64 / put_bytes.max(1.0),
    );
    note(
        &mut metrics,
        "cpu_us_per_op",
        1e6 * meter.cpu_s() / latency.calls().max(1) as f64,
    );
    note(
        &mut metrics,
        "disk_over_capacity",
        disk::used(task.dir)? as f64 / capacity as f64,
    );
    latency.put_into(&mut metrics, "get_");
    store.close()?;
    Ok(Part::whole(metrics))
}
