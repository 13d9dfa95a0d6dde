//! Keys that are not there.

use std::time::Instant;

use super::setup::{MEMORY_BYTES, Task};
use super::{Part, note};
use crate::backend::Kind;
use crate::data::{ABSENT, Draw, Values, key};
use crate::failure::{Failure, Result};
use crate::measure::latency::Latency;
use crate::record::Metrics;

const VALUE_BYTES: usize = 32;
const DRAWN: usize = 1 << 18;
/// Of a store that keeps so few of the keys, no more are put in: foyer takes 4 KiB for each.
const BYTES_AN_ENTRY_IN_FOYER: u64 = 4096;
const FOYER_BYTES: u64 = 8 << 30;

pub(super) fn run(task: &Task<'_>, keys: u64) -> Result<Vec<Part>> {
    let values = Values::new(VALUE_BYTES);
    let (keys, capacity) = match task.kind {
        Kind::Foyer => (
            keys.min(FOYER_BYTES / BYTES_AN_ENTRY_IN_FOYER / 2),
            FOYER_BYTES,
        ),
        _ => (keys, (keys * 256).max(1 << 30)),
    };
    let store = task.open(capacity, MEMORY_BYTES)?;
    let entries = task.put_all(&*store, &values, 0, keys)?;
    store.flush()?;
    // Any of so many that none is asked for twice in a while.
    let drawn: Vec<_> = Draw::uniform(1 << 30)
        .many(DRAWN, 1)
        .into_iter()
        .map(|n| key(ABSENT + n))
        .collect();
    let mut latency = Latency::every(16);
    let mut found = 0;
    let limit = task.effort.measure();
    let started = Instant::now();
    for (at, key) in drawn.iter().cycle().enumerate() {
        if at % 256 == 0 && started.elapsed() >= limit {
            break;
        }
        found += u64::from(latency.time(|| store.get(key, &mut |_| ()))?);
    }
    let seconds = started.elapsed().as_secs_f64();
    if found > 0 {
        return Err(Failure::new(format!(
            "{found} keys were found that nobody put"
        )));
    }
    let mut metrics = Metrics::new();
    note(&mut metrics, "entries", entries as f64);
    note(&mut metrics, "ops_per_s", latency.calls() as f64 / seconds);
    note(
        &mut metrics,
        "ns_per_op",
        1e9 * seconds / latency.calls() as f64,
    );
    latency.put_into(&mut metrics, "");
    store.close()?;
    Ok(Part::whole(metrics))
}
