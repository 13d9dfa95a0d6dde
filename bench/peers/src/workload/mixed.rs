//! One put to four and a half hits and as many misses, large values, two threads; data for two and a half times the capacity.
//! Hits are of what must be there still, and every byte is compared.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::bound::Bound;
use super::setup::{MEMORY_BYTES, Task};
use super::{Part, note};
use crate::backend::Backend;
use crate::data::{ABSENT, KEY_BYTES, Values, key};
use crate::failure::{Failure, Result};
use crate::measure::disk;
use crate::measure::latency::Latency;
use crate::measure::machine::Meter;
use crate::record::Metrics;

const THREADS: u64 = 2;
/// Present before the first get.
const FIRST: u64 = 64;
/// No put of this thread is under way.
const NONE: u64 = u64::MAX;

struct Mix<'a> {
    store: &'a dyn Backend,
    values: Values,
    bound: Bound,
    put: AtomicU64,
    /// Of each thread a number that is not above that of the key it is putting. Published before that number is drawn, so that
    /// whoever sees the number drawn sees this, too.
    under_way: [AtomicU64; THREADS as usize],
    /// Of these newest keys any must be there: an eighth of what the capacity holds, so that no policy has reason to have
    /// dropped one.
    window: u64,
    all: u64,
}

struct Done {
    gets: Latency,
    puts: Latency,
    misses: u64,
    lost: u64,
}

pub(super) fn run(task: &Task<'_>, bytes: usize) -> Result<Vec<Part>> {
    let capacity = task.effort.mixed_capacity();
    let fit = capacity / (bytes + KEY_BYTES) as u64;
    let store = task.open(capacity, MEMORY_BYTES)?;
    let mix = Mix {
        store: &*store,
        values: Values::new(bytes),
        bound: Bound::new(task.kind, capacity, bytes),
        put: AtomicU64::new(task.put_all(&*store, &Values::new(bytes), 0, FIRST)?),
        under_way: [const { AtomicU64::new(NONE) }; THREADS as usize],
        window: (fit / 8).max(1),
        all: fit * 5 / 2,
    };
    let meter = Meter::start()?;
    let started = Instant::now();
    let done = std::thread::scope(|scope| -> Result<Vec<Done>> {
        let all: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn({
                    let mix = &mix;
                    move || mix.work(thread, task, started)
                })
            })
            .collect();
        all.into_iter()
            .map(|thread| thread.join().expect("a thread panicked"))
            .collect()
    })?;
    store.flush()?;
    let mut metrics = mix.summed(done, started.elapsed().as_secs_f64(), meter.cpu_s());
    note(&mut metrics, "disk_bytes", disk::used(task.dir)? as f64);
    note(&mut metrics, "capacity_bytes", capacity as f64);
    store.close()?;
    Ok(Part::whole(metrics))
}

impl Mix<'_> {
    fn work(&self, thread: u64, task: &Task<'_>, started: Instant) -> Result<Done> {
        let mut rng = SmallRng::seed_from_u64(thread);
        let mut done = Done {
            gets: Latency::every(1),
            puts: Latency::every(1),
            misses: 0,
            lost: 0,
        };
        while self.put.load(Ordering::Relaxed) < self.all && started.elapsed() < task.effort.mixed()
        {
            match rng.random_range(0..20) {
                0..2 => self.put(thread, &mut done)?,
                2..11 => self.hit(&mut rng, &mut done)?,
                _ => self.miss(&mut rng, &mut done)?,
            }
        }
        Ok(done)
    }

    fn put(&self, thread: u64, done: &mut Done) -> Result<()> {
        let under_way = &self.under_way[thread as usize];
        under_way.store(self.put.load(Ordering::SeqCst), Ordering::SeqCst);
        let n = self.put.fetch_add(1, Ordering::SeqCst);
        done.puts
            .time(|| self.store.put(&key(n), self.values.of(n)))?;
        under_way.store(NONE, Ordering::SeqCst);
        self.bound.keep(self.store, n + 1)
    }

    /// Every key below was put.
    fn all_below(&self) -> u64 {
        let put = self.put.load(Ordering::SeqCst);
        let under_way = self.under_way.iter().map(|it| it.load(Ordering::SeqCst));
        under_way.fold(put, u64::min)
    }

    fn hit(&self, rng: &mut SmallRng, done: &mut Done) -> Result<()> {
        let newest = self.all_below();
        let n = rng.random_range(newest.saturating_sub(self.window)..newest);
        let mut right = true;
        let look = &mut |got: &[u8]| right = self.values.is(n, got);
        let hit = done.gets.time(|| self.store.get(&key(n), look))?;
        if !right {
            return Err(Failure::new(format!(
                "the value of key {n} is not what was put"
            )));
        }
        done.lost += u64::from(!hit);
        Ok(())
    }

    fn miss(&self, rng: &mut SmallRng, done: &mut Done) -> Result<()> {
        let n = ABSENT + rng.random_range(0..1_u64 << 30);
        if self.store.get(&key(n), &mut |_| ())? {
            return Err(Failure::new("a key was found that nobody put"));
        }
        done.misses += 1;
        Ok(())
    }

    fn summed(&self, done: Vec<Done>, seconds: f64, cpu_s: f64) -> Metrics {
        let (mut gets, mut puts) = (Latency::every(1), Latency::every(1));
        let (mut misses, mut lost) = (0, 0);
        for one in done {
            gets.merge(&one.gets);
            puts.merge(&one.puts);
            misses += one.misses;
            lost += one.lost;
        }
        let value = (self.values.bytes() + KEY_BYTES) as f64;
        let moved = (gets.calls() - lost + puts.calls()) as f64 * value;
        let mut metrics = Metrics::new();
        note(&mut metrics, "bytes_per_s", moved / seconds);
        note(
            &mut metrics,
            "ops_per_s",
            (gets.calls() + puts.calls() + misses) as f64 / seconds,
        );
        note(
            &mut metrics,
            "put_bytes_per_s",
            puts.calls() as f64 * value / seconds,
        );
        note(
            &mut metrics,
            "lost",
            lost as f64 / gets.calls().max(1) as f64,
        );
        note(
            &mut metrics,
            "done",
            self.put.load(Ordering::Relaxed) as f64 / self.all as f64,
        );
        note(&mut metrics, "cpu_s_per_gb", cpu_s / (moved / 1e9));
        gets.put_into(&mut metrics, "get_");
        puts.put_into(&mut metrics, "put_");
        metrics
    }
}
