//! Gets of keys that are there: from memory, from what was just put, from the page cache, from the device.

use std::collections::BTreeMap;
use std::time::Instant;

use super::setup::{MEMORY_BYTES, Task};
use super::{Part, Place, note};
use crate::backend::{Backend, Kind};
use crate::data::{Draw, Values, key, scatter};
use crate::failure::{Failure, Result};
use crate::measure::disk;
use crate::measure::latency::Latency;
use crate::measure::machine::Meter;
use crate::record::Metrics;

const VALUE_BYTES: usize = 4096;
/// Half of the memory there is for them.
const FEW_KEYS: u64 = MEMORY_BYTES / 2 / VALUE_BYTES as u64;
/// An eighth of perennial's tail, not all of which can be read.
const FEWER_KEYS: u64 = FEW_KEYS / 4;
const THREADS: [usize; 3] = [1, 2, 8];
/// Keys are drawn beforehand; a thread goes round them.
const DRAWN: usize = 1 << 16;
/// The whole of a range's value, and the range.
const WHOLE_BYTES: usize = 1 << 20;
const RANGE_BYTES: usize = 4096;

pub(super) fn run(task: &Task<'_>, place: Place) -> Result<Vec<Part>> {
    let values = Values::new(VALUE_BYTES);
    let few = matches!(place, Place::Memory | Place::Tail);
    let wanted = match place {
        Place::Memory => FEW_KEYS,
        Place::Tail => FEWER_KEYS,
        Place::PageCache | Place::Disk => task.effort.file_keys(place == Place::Disk),
    };
    let memory = if few { MEMORY_BYTES } else { 0 };
    let store = task.open(task.effort.large_capacity(), memory)?;
    let keys = task.put_all(&*store, &values, 0, wanted)?;
    if place != Place::Tail && !task.kind.is_in_memory() {
        task.push_out(&*store)?;
    }
    if matches!(place, Place::Memory | Place::PageCache) {
        // Twice, for tiers that take in what is read again.
        for n in (0..keys).chain(0..keys) {
            store.get(&key(scatter(n) % keys), &mut |_| ())?;
        }
        (0..keys).try_for_each(|n| store.get(&key(n), &mut |_| ()).map(drop))?;
    }
    let mut parts = Vec::new();
    for (name, draw) in [("uniform", Draw::uniform(keys)), ("zipf", Draw::zipf(keys))] {
        for threads in THREADS {
            if place == Place::Disk {
                disk::forget(task.dir)?;
            }
            let reads = Reads {
                task,
                store: &*store,
                values: &values,
                place,
                keys,
            };
            let metrics = reads.measure(&draw, name == "uniform", threads)?;
            parts.push(Part {
                suffix: format!("/{name}/{threads}t"),
                metrics,
            });
        }
    }
    store.close()?;
    Ok(parts)
}

struct Reads<'a> {
    task: &'a Task<'a>,
    store: &'a dyn Backend,
    values: &'a Values,
    place: Place,
    keys: u64,
}

/// What a thread found.
struct Found {
    latency: Latency,
    hits: u64,
    wrong: u64,
}

impl Reads<'_> {
    fn measure(&self, draw: &Draw, uniform: bool, threads: usize) -> Result<Metrics> {
        let drawn: Vec<Vec<u64>> = (0..threads)
            .map(|thread| self.drawn(draw, uniform, thread, threads))
            .collect();
        let before = figures(self.store);
        let reads = disk::process_reads()?;
        let meter = Meter::start()?;
        let started = Instant::now();
        let found = std::thread::scope(|scope| -> Result<Vec<Found>> {
            let all: Vec<_> = drawn
                .iter()
                .map(|keys| scope.spawn(|| self.read(keys, started)))
                .collect();
            all.into_iter()
                .map(|thread| thread.join().expect("a thread panicked"))
                .collect()
        })?;
        let seconds = started.elapsed().as_secs_f64();
        let reads = disk::process_reads()? - reads;
        let after = figures(self.store);
        let mut metrics = summed(&found, threads, seconds)?;
        let hits: u64 = found.iter().map(|found| found.hits).sum();
        note(
            &mut metrics,
            "cpu_us_per_hit",
            1e6 * meter.cpu_s() / hits.max(1) as f64,
        );
        note(
            &mut metrics,
            "reads_per_hit",
            reads as f64 / hits.max(1) as f64,
        );
        self.places(&mut metrics, &before, &after);
        Ok(metrics)
    }

    /// From the device each key is read but once, unless it is a favourite: what was read is in the page cache then.
    fn drawn(&self, draw: &Draw, uniform: bool, thread: usize, threads: usize) -> Vec<u64> {
        if self.place != Place::Disk || !uniform {
            return draw.many(DRAWN, thread as u64);
        }
        let mut own: Vec<u64> = (0..self.keys)
            .filter(|n| n % threads as u64 == thread as u64)
            .collect();
        own.sort_unstable_by_key(|n| scatter(*n));
        own
    }

    fn read(&self, keys: &[u64], started: Instant) -> Result<Found> {
        let cold = self.place == Place::Disk;
        let limit = self.task.effort.measure();
        let mut found = Found {
            latency: Latency::every(if cold { 1 } else { 16 }),
            hits: 0,
            wrong: 0,
        };
        let batch = if cold { 1 } else { 64 };
        for (at, &n) in keys.iter().cycle().enumerate() {
            let ended =
                (cold && at >= keys.len()) || (at % batch == 0 && started.elapsed() >= limit);
            if ended {
                break;
            }
            let key = key(n);
            let wrong = &mut found.wrong;
            let look = &mut |got: &[u8]| *wrong += u64::from(!self.values.looks_like(n, got));
            let hit = found.latency.time(|| self.store.get(&key, look))?;
            found.hits += u64::from(hit);
        }
        Ok(found)
    }

    /// Where perennial says it answered.
    fn places(
        &self,
        metrics: &mut Metrics,
        before: &BTreeMap<&str, f64>,
        after: &BTreeMap<&str, f64>,
    ) {
        let counted = |name: &str| {
            after
                .get(name)
                .zip(before.get(name))
                .map(|(after, before)| after - before)
        };
        let places = ["hits_tail", "hits_memory", "hits_disk"].map(counted);
        let [Some(tail), Some(memory), Some(disk)] = places else {
            return;
        };
        let wanted = match self.place {
            Place::Tail => tail,
            Place::Memory => memory,
            Place::PageCache | Place::Disk => disk,
        };
        note(
            metrics,
            "in_place",
            wanted / (tail + memory + disk).max(1.0),
        );
    }
}

fn figures(store: &dyn Backend) -> BTreeMap<&'static str, f64> {
    store.figures().into_iter().collect()
}

fn summed(found: &[Found], threads: usize, seconds: f64) -> Result<Metrics> {
    let mut latency = Latency::every(1);
    found.iter().for_each(|found| latency.merge(&found.latency));
    let wrong: u64 = found.iter().map(|found| found.wrong).sum();
    if wrong > 0 {
        return Err(Failure::new(format!("{wrong} values are not what was put")));
    }
    let hits: u64 = found.iter().map(|found| found.hits).sum();
    let calls = latency.calls().max(1) as f64;
    let mut metrics = Metrics::new();
    note(&mut metrics, "ops_per_s", calls / seconds);
    note(
        &mut metrics,
        "ns_per_op",
        1e9 * seconds * threads as f64 / calls,
    );
    note(&mut metrics, "hit_ratio", hits as f64 / calls);
    latency.put_into(&mut metrics, "");
    Ok(metrics)
}

/// 4 KiB out of values of 1 MiB, from the page cache, one thread.
pub(super) fn run_ranges(task: &Task<'_>) -> Result<Vec<Part>> {
    let values = Values::new(WHOLE_BYTES);
    let store = task.open(task.effort.large_capacity(), 0)?;
    let keys = task.put_all(&*store, &values, 0, task.effort.range_keys())?;
    task.push_out(&*store)?;
    (0..keys).try_for_each(|n| store.get(&key(n), &mut |_| ()).map(drop))?;
    let drawn = Draw::uniform(keys).many(DRAWN, 1);
    let mut found = Found {
        latency: Latency::every(1),
        hits: 0,
        wrong: 0,
    };
    let started = Instant::now();
    for (at, &n) in drawn.iter().cycle().enumerate() {
        if started.elapsed() >= task.effort.measure() {
            break;
        }
        let begin = scatter(at as u64) as usize % (WHOLE_BYTES / RANGE_BYTES) * RANGE_BYTES;
        let range = begin..begin + RANGE_BYTES;
        let wrong = &mut found.wrong;
        let look = &mut |got: &[u8]| *wrong += u64::from(got != &values.of(n)[range.clone()]);
        let hit = found
            .latency
            .time(|| store.get_range(&key(n), range.clone(), look))?;
        found.hits += u64::from(hit);
    }
    let metrics = summed(&[found], 1, started.elapsed().as_secs_f64())?;
    store.close()?;
    Ok(Part::whole(metrics))
}

/// Whether a store is measured at a place.
pub(crate) fn applies(kind: Kind, place: Place) -> bool {
    match place {
        Place::Memory => kind.is_in_memory() || kind.is_on_disk(),
        Place::Tail => kind.is_on_disk(),
        Place::PageCache => kind.is_on_disk() || kind == Kind::Pread,
        Place::Disk => kind.is_on_disk() || matches!(kind, Kind::Pread | Kind::PreadDirect),
    }
}
