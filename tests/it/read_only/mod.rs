//! A cache that is opened to read only: what it shows was there at one moment, it writes nothing, and needs nobody's leave.

mod as_an_open;
mod beside_threads;
mod overtaken;

use std::collections::BTreeMap;
use std::sync::Arc;

use perennial::{Cache, Options, ReadOnlyCache, Result};
use perennial_failpoints::lab::value;
use perennial_failpoints::{Fs, SimFs};

use crate::small::{DIR, Rng, options};

const KEYS: u64 = 14;

fn key(n: u64) -> Vec<u8> {
    format!("key-{n}").into_bytes()
}

fn open_read_only(fs: Arc<dyn Fs>) -> Result<ReadOnlyCache> {
    ReadOnlyCache::open_with(fs, DIR)
}

/// At which operation, and what a key had from then on.
type Change = (u64, Option<Vec<u8>>);

/// A cache on a simulated disk, and when it had which value.
struct Story {
    fs: SimFs,
    cache: Cache,
    rng: Rng,
    /// Counts operations.
    now: u64,
    /// The operations that changed a key, oldest first: what it had from then on.
    changes: BTreeMap<Vec<u8>, Vec<Change>>,
    /// Everything up to this operation was made durable.
    flushed: u64,
    /// Values are so many times as large.
    scale: u64,
    /// Nothing is evicted, and each operation is one frame.
    roomy: bool,
}

impl Story {
    fn new(seed: u64, options: Options) -> Self {
        let fs = SimFs::new(seed);
        let cache = Cache::open_with(Arc::new(fs.clone()), DIR, options).unwrap();
        Self {
            fs,
            cache,
            rng: Rng(seed),
            now: 0,
            changes: BTreeMap::new(),
            flushed: 0,
            scale: 1,
            roomy: false,
        }
    }

    fn small(seed: u64) -> Self {
        Self::new(seed, options())
    }

    fn changed(&mut self, key: Vec<u8>, to: Option<Vec<u8>>) {
        self.changes.entry(key).or_default().push((self.now, to));
    }

    fn step(&mut self) {
        self.now += 1;
        let one = key(self.rng.below(KEYS));
        match self.rng.below(60) {
            0..=5 => {
                self.cache.remove(&one).unwrap();
                self.changed(one, None);
            }
            6..=9 => {
                self.cache.flush().unwrap();
                self.flushed = self.now;
            }
            10 => self.cache.checkpoint().unwrap(),
            // In a log that is cleared all the time nothing happens.
            11 if !self.roomy || self.rng.below(50) == 0 => {
                self.cache.clear().unwrap();
                (0..KEYS).for_each(|n| self.changed(key(n), None));
            }
            12 if !self.roomy => {
                self.cache.remove_prefix(b"key-1").unwrap();
                for n in [1, 10, 11, 12, 13] {
                    self.changed(key(n), None);
                }
            }
            // Reads decide what is kept.
            11..=25 => drop(self.cache.get(&one).unwrap()),
            what => {
                let len = if what == 26 {
                    1_200
                } else {
                    self.rng.below(400)
                };
                let len = usize::try_from(len * self.scale).unwrap();
                let value = value(&one, self.now, len);
                self.cache.insert(&one, &value).unwrap();
                self.changed(one, Some(value));
            }
        }
    }

    fn steps(&mut self, n: u64) {
        (0..n).for_each(|_| self.step());
    }

    /// While which operations the key had this value.
    fn when(&self, key: &[u8], value: &[u8]) -> Option<(u64, u64)> {
        let changes = self.changes.get(key)?;
        let at = changes
            .iter()
            .position(|(_, had)| had.as_deref() == Some(value))?;
        let until = changes.get(at + 1).map_or(u64::MAX, |(next, _)| *next);
        Some((changes[at].0, until))
    }

    /// True where all that `snapshot` shows was there at one moment, none before `from`. How many keys it shows.
    fn check(&self, snapshot: &ReadOnlyCache, from: u64) -> u64 {
        let (mut since, mut until, mut shown) = (from, self.now + 1, 0);
        for n in 0..KEYS {
            let Some(value) = snapshot.get(key(n)).unwrap() else {
                continue;
            };
            let when = self.when(&key(n), &value);
            let (begin, end) = when.unwrap_or_else(|| panic!("key {n} never had this value"));
            since = since.max(begin);
            until = until.min(end);
            assert!(
                since < until,
                "key {n}: {begin}..{end} and the others, not before {from}"
            );
            shown += 1;
        }
        shown
    }
}

impl Story {
    /// What the key had behind this operation.
    fn had(&self, key: &[u8], at: u64) -> Option<&[u8]> {
        let changes = self.changes.get(key)?;
        let until = changes.partition_point(|(then, _)| *then <= at);
        changes[..until].last()?.1.as_deref()
    }

    /// The same of what is not shown: nothing was evicted.
    fn check_that_all_is_shown(&self, snapshot: &ReadOnlyCache, from: u64) {
        let shown: Vec<_> = (0..KEYS)
            .map(|n| (key(n), snapshot.get(key(n)).unwrap()))
            .collect();
        if snapshot.stats().recycled + self.cache.stats().evicted > 0 {
            // It was cleared since, or there was less room than was thought.
            return;
        }
        let is_of = |at: u64| {
            let mut keys = shown.iter();
            keys.all(|(key, value)| self.had(key, at) == value.as_deref())
        };
        assert!((from..=self.now).any(is_of), "not of one moment");
    }
}

/// What every key has, by every way to ask.
fn all_of(snapshot: &ReadOnlyCache) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut listed: Vec<_> = snapshot.keys().map(Vec::from).collect();
    listed.sort();
    let scanned: Result<Vec<_>> = snapshot
        .scan_prefix(b"")
        .map(|k| k.map(Vec::from))
        .collect();
    assert_eq!(listed, scanned.unwrap());
    let found: BTreeMap<_, _> = listed
        .into_iter()
        .map(|key| {
            let value = snapshot.get(&key).unwrap().expect("it was listed");
            let entry = snapshot.entry(&key).unwrap().expect("it was listed");
            assert!(snapshot.contains(&key).unwrap());
            assert_eq!(entry.value, value);
            let part = snapshot.get_range(&key, 3..30).unwrap();
            assert_eq!(part.as_deref(), Some(&value[3..value.len().min(30)]));
            (key, value.to_vec())
        })
        .collect();
    for n in (0..KEYS).map(key).filter(|key| !found.contains_key(key)) {
        assert!(snapshot.get(&n).unwrap().is_none() && !snapshot.contains(&n).unwrap());
    }
    assert_eq!(snapshot.stats().entries, found.len() as u64);
    found
}
