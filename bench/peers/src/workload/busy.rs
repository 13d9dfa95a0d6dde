//! Gets while a writer puts as quickly as it can, and while nobody writes; beside them raw reads of the device under the same
//! writes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use super::setup::{MEMORY_BYTES, Task};
use super::{Part, note};
use crate::backend::{Backend, Kind, Setting};
use crate::data::{KEY_BYTES, Values, key, scatter};
use crate::failure::{Failure, Result};
use crate::measure::disk;
use crate::measure::latency::Latency;
use crate::record::Metrics;

const VALUE_BYTES: usize = 4096;
const WRITTEN_VALUE_BYTES: usize = 64 << 10;
/// A quarter of the memory tier.
const HOT: u64 = MEMORY_BYTES / 4 / VALUE_BYTES as u64;
/// The writer goes round so many keys.
const OVERWRITTEN: u64 = 4096;
/// Keys from here on are the writer's.
const WRITERS: u64 = 1 << 33;
const PHASES: u64 = 4;

struct Busy<'a> {
    task: &'a Task<'a>,
    store: &'a dyn Backend,
    raw: &'a dyn Backend,
    values: Values,
    cold: u64,
}

#[derive(Clone, Copy)]
enum Read {
    Hot,
    Cold,
    Raw,
}

pub(super) fn run(task: &Task<'_>) -> Result<Vec<Part>> {
    let effort = task.effort;
    let capacity = 2 * PHASES * effort.busy_bytes();
    let (own, beside) = (task.dir.join("store"), task.dir.join("raw"));
    std::fs::create_dir_all(&own)?;
    std::fs::create_dir_all(&beside)?;
    let store = task.kind.open(&Setting {
        dir: own,
        ..task.setting(capacity, MEMORY_BYTES)
    })?;
    let raw = Kind::PreadDirect.open(&Setting {
        dir: beside,
        ..task.setting(0, 0)
    })?;
    let values = Values::new(VALUE_BYTES);
    let cold = HOT + effort.file_keys(true);
    let cold = task.put_all(&*store, &values, 0, cold)?;
    task.put_all(&*raw, &values, 0, cold)?;
    raw.flush()?;
    task.push_out(&*store)?;
    let busy = Busy {
        task,
        store: &*store,
        raw: &*raw,
        values,
        cold,
    };
    let metrics = busy.measure()?;
    store.close()?;
    Ok(Part::whole(metrics))
}

impl Busy<'_> {
    fn measure(&self) -> Result<Metrics> {
        let mut metrics = Metrics::new();
        for (name, read) in [("hot", Read::Hot), ("disk", Read::Cold), ("raw", Read::Raw)] {
            let idle = self.reads(read, 0, &AtomicBool::new(false))?;
            idle.0.put_into(&mut metrics, &format!("{name}_idle_"));
            let (busy, missed, rate) = self.beside_writes(read)?;
            busy.put_into(&mut metrics, &format!("{name}_busy_"));
            note(
                &mut metrics,
                &format!("{name}_missed"),
                missed as f64 / busy.calls().max(1) as f64,
            );
            note(&mut metrics, &format!("{name}_written_bytes_per_s"), rate);
        }
        Ok(metrics)
    }

    fn beside_writes(&self, read: Read) -> Result<(Latency, u64, f64)> {
        let over = AtomicBool::new(false);
        let written = AtomicU64::new(0);
        let started = Instant::now();
        let (latency, missed) = std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let result = self.write(&written, &over, started);
                over.store(true, Ordering::Relaxed);
                result
            });
            let reads = self.reads(read, 1, &over);
            over.store(true, Ordering::Relaxed);
            writer.join().expect("the writer panicked")?;
            reads
        })?;
        Ok((
            latency,
            missed,
            written.into_inner() as f64 / started.elapsed().as_secs_f64(),
        ))
    }

    fn write(&self, written: &AtomicU64, over: &AtomicBool, started: Instant) -> Result<()> {
        let values = Values::new(WRITTEN_VALUE_BYTES);
        let mut n = 0;
        while !over.load(Ordering::Relaxed) && started.elapsed() < 4 * self.task.effort.measure() {
            let number = WRITERS + n % OVERWRITTEN;
            self.store.put(&key(number), values.of(number))?;
            n += 1;
            let bytes = written.fetch_add((values.bytes() + KEY_BYTES) as u64, Ordering::Relaxed);
            if bytes >= self.task.effort.busy_bytes() {
                break;
            }
        }
        Ok(())
    }

    /// Until it is over; at most as long as measurements take. Each cold key is read once, in an order of each `round`'s own.
    fn reads(&self, read: Read, round: u64, over: &AtomicBool) -> Result<(Latency, u64)> {
        if matches!(read, Read::Hot) {
            for _ in 0..2 {
                (0..HOT).try_for_each(|n| self.store.get(&key(n), &mut |_| ()).map(drop))?;
            }
        } else {
            disk::forget(self.task.dir)?;
        }
        let mut latency = Latency::every(1);
        let (mut missed, mut wrong) = (0, 0);
        let started = Instant::now();
        let mut at = 0;
        while !over.load(Ordering::Relaxed) && started.elapsed() < self.task.effort.measure() {
            let n = match read {
                Read::Hot => scatter(at) % HOT,
                _ => HOT + scatter(at + (round << 32)) % (self.cold - HOT),
            };
            let from = if matches!(read, Read::Raw) {
                self.raw
            } else {
                self.store
            };
            let look = &mut |got: &[u8]| wrong += u64::from(!self.values.looks_like(n, got));
            missed += u64::from(!latency.time(|| from.get(&key(n), look))?);
            at += 1;
        }
        if wrong > 0 {
            return Err(Failure::new(format!("{wrong} values are not what was put")));
        }
        Ok((latency, missed))
    }
}
