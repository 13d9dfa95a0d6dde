//! The phases, by as many threads as were asked for.

use std::panic::resume_unwind;
use std::thread;

use perennial::Cache;

use super::report::Phase;
use super::tally::Tally;
use super::values::Values;
use crate::call::Call;
use crate::clock::Stopwatch;
use crate::dice::Dice;
use crate::failure::Failure;
use crate::progress::Progress;

/// Operations between two steps of the bar.
const STEP: u64 = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Fill,
    Read,
    Mixed,
}

const PHASES: [(&str, Kind); 3] = [
    ("fill", Kind::Fill),
    ("read", Kind::Read),
    ("mixed", Kind::Mixed),
];

pub(super) struct Crew<'a> {
    cache: &'a Cache,
    values: &'a Values,
    hands: Vec<Hand>,
}

/// A thread's share: keys `first`, `first + step`, and so on, with the version that each has.
struct Hand {
    first: u64,
    step: u64,
    versions: Vec<u64>,
    dice: Dice,
}

impl<'a> Crew<'a> {
    pub(super) fn new(
        cache: &'a Cache,
        values: &'a Values,
        keys: u64,
        threads: u16,
        seed: u64,
    ) -> Self {
        let threads = u64::from(threads).min(keys);
        let hands = (0..threads).map(|first| {
            let share = (keys - first).div_ceil(threads);
            Hand {
                first,
                step: threads,
                versions: vec![0; usize::try_from(share).unwrap_or(usize::MAX)],
                dice: Dice::new(seed, first),
            }
        });
        Self {
            cache,
            values,
            hands: hands.collect(),
        }
    }

    pub(super) fn work_all(&mut self, call: &Call<'_>) -> Result<Vec<Phase>, Failure> {
        let phases = PHASES.into_iter();
        phases
            .map(|(name, kind)| self.work(name, kind, call))
            .collect()
    }

    fn work(&mut self, name: &'static str, kind: Kind, call: &Call<'_>) -> Result<Phase, Failure> {
        let (cache, values) = (self.cache, self.values);
        let keys: u64 = self
            .hands
            .iter()
            .map(|hand| hand.versions.len() as u64)
            .sum();
        let bar = &call.bytes_bar(name, keys * values.value_bytes());
        let watch = Stopwatch::start();
        let tallies: Result<Vec<Tally>, Failure> = thread::scope(|scope| {
            let hands = self.hands.iter_mut();
            let threads: Vec<_> = hands
                .map(|hand| scope.spawn(move || hand.work(kind, cache, values, bar)))
                .collect();
            let ended = threads.into_iter().map(|thread| thread.join());
            ended
                .map(|end| end.unwrap_or_else(|panic| resume_unwind(panic)))
                .collect()
        });
        let mut all = Tally::new()?;
        for tally in tallies? {
            all.add(&tally)?;
        }
        Ok(all.phase(name, values.value_bytes(), watch.elapsed()))
    }
}

impl Hand {
    fn work(
        &mut self,
        kind: Kind,
        cache: &Cache,
        values: &Values,
        bar: &Progress,
    ) -> Result<Tally, Failure> {
        let mut tally = Tally::new()?;
        let mut buffer = Vec::new();
        let share = self.versions.len() as u64;
        for n in 0..share {
            let (at, inserts) = match kind {
                Kind::Fill => (n, true),
                Kind::Read => (self.dice.below(share), false),
                Kind::Mixed => (self.dice.below(share), self.dice.below(10) == 0),
            };
            if inserts {
                self.insert(at, cache, values, &mut buffer, &mut tally)?;
            } else {
                self.read(at, cache, values, &mut tally)?;
            }
            if (n + 1) % STEP == 0 {
                bar.add(STEP * values.value_bytes());
            }
        }
        Ok(tally)
    }

    fn key(&self, at: u64) -> u64 {
        self.first + at * self.step
    }

    fn version(&mut self, at: u64) -> &mut u64 {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        &mut self.versions[at]
    }

    fn insert(
        &mut self,
        at: u64,
        cache: &Cache,
        values: &Values,
        buffer: &mut Vec<u8>,
        tally: &mut Tally,
    ) -> Result<(), Failure> {
        let key = self.key(at);
        let version = self.version(at);
        *version += 1;
        values.write(key, *version, buffer);
        let watch = Stopwatch::start();
        // What is rejected has no value then, and the read of it is a miss.
        cache.insert(key.to_le_bytes(), &buffer)?;
        tally.count(watch.elapsed())
    }

    fn read(
        &mut self,
        at: u64,
        cache: &Cache,
        values: &Values,
        tally: &mut Tally,
    ) -> Result<(), Failure> {
        let key = self.key(at);
        let watch = Stopwatch::start();
        let value = cache.get(key.to_le_bytes())?;
        let took = watch.elapsed();
        match value {
            None => tally.misses += 1,
            Some(value) if values.is(key, *self.version(at), &value) => tally.hits += 1,
            Some(_) => tally.wrong += 1,
        }
        tally.count(took)
    }
}
