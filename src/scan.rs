//! Listing keys in their order, in bounded memory and without files.
//!
//! Each pass goes through all keys and keeps the smallest of those that are still to come, as many as fit; then it hands
//! them out. Runs on disk would have to lie in the cache's directory, where there may be no room for them: the capacity
//! is a hard bound, and a crash would leave them behind. The price is a pass over the keys (their heads, not the values) for
//! each 8 MiB of keys in the range.

use std::collections::BTreeSet;
use std::ops::{Bound, RangeBounds};

use crate::engine::Engine;
use crate::error::Result;
use crate::keys::Keys;
use crate::read_only::ReadOnlyCache;

/// Bytes of keys that a pass keeps, with what a set of them takes for each.
const RUN_BYTES: usize = 8 << 20;
/// A key in a set, beside its bytes.
const OVERHEAD_BYTES: usize = 48;

type Key = Box<[u8]>;

/// The keys of a range, in their order; see [`Cache::scan`](crate::Cache::scan).
pub struct Scan<'a> {
    of: Of<'a>,
    /// What is still to come.
    from: Bound<Key>,
    to: Bound<Key>,
    run: std::collections::btree_set::IntoIter<Key>,
    run_bytes: usize,
    /// No pass comes any more.
    last: bool,
}

/// Whose keys.
#[derive(Clone, Copy)]
pub(crate) enum Of<'a> {
    Open(&'a Engine),
    ReadOnly(&'a ReadOnlyCache),
}

impl<'a> Of<'a> {
    /// In no order.
    fn keys(self) -> Box<dyn Iterator<Item = Result<Key>> + 'a> {
        match self {
            Self::Open(engine) => Box::new(Keys(engine.list())),
            Self::ReadOnly(cache) => Box::new(cache.keys().map(Ok)),
        }
    }

    pub(crate) fn scan<K: AsRef<[u8]>>(self, range: &impl RangeBounds<K>) -> Scan<'a> {
        let own = |bound: Bound<&K>| bound.map(|key| Key::from(key.as_ref()));
        self.scan_between(own(range.start_bound()), own(range.end_bound()))
    }

    pub(crate) fn scan_prefix(self, prefix: &[u8]) -> Scan<'a> {
        let end = behind_prefix(prefix).map_or(Bound::Unbounded, Bound::Excluded);
        self.scan_between(Bound::Included(prefix.into()), end)
    }

    fn scan_between(self, from: Bound<Key>, to: Bound<Key>) -> Scan<'a> {
        Scan {
            of: self,
            from,
            to,
            run: BTreeSet::new().into_iter(),
            run_bytes: RUN_BYTES,
            last: false,
        }
    }
}

/// The smallest keys that a pass has seen.
#[derive(Default)]
struct Run {
    keys: BTreeSet<Key>,
    bytes: usize,
    /// Larger ones were left out.
    cut: bool,
}

impl Run {
    fn add(&mut self, key: Key, limit: usize) {
        // Beyond what was cut off already.
        if self.cut && self.keys.last().is_some_and(|last| key > *last) {
            return;
        }
        let bytes = cost(&key);
        if self.keys.insert(key) {
            self.bytes += bytes;
        }
        while self.bytes > limit && self.keys.len() > 1 {
            let largest = self.keys.pop_last();
            self.bytes -= largest.map_or(0, |key| cost(&key));
            self.cut = true;
        }
    }
}

fn cost(key: &Key) -> usize {
    key.len() + OVERHEAD_BYTES
}

impl Engine {
    pub(crate) fn scan<K: AsRef<[u8]>>(&self, range: &impl RangeBounds<K>) -> Scan<'_> {
        Of::Open(self).scan(range)
    }

    pub(crate) fn scan_prefix(&self, prefix: &[u8]) -> Scan<'_> {
        Of::Open(self).scan_prefix(prefix)
    }
}

/// The first key behind all that begin with `prefix`; `None`: there is none.
fn behind_prefix(prefix: &[u8]) -> Option<Key> {
    let mut end = prefix.to_vec();
    while end.pop_if(|last| *last == u8::MAX).is_some() {}
    *end.last_mut()? += 1;
    Some(end.into())
}

impl std::fmt::Debug for Scan<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scan")
            .field("from", &self.from)
            .field("to", &self.to)
            .finish_non_exhaustive()
    }
}

impl Scan<'_> {
    fn pass(&mut self) -> Result<()> {
        perennial_failpoints::site!("scan::pass");
        let mut run = Run::default();
        for key in self.of.keys() {
            let key = key?;
            if (self.from.as_ref(), self.to.as_ref()).contains(&key) {
                run.add(key, self.run_bytes);
            }
        }
        self.last = !run.cut;
        if let Some(last) = run.keys.last() {
            self.from = Bound::Excluded(last.clone());
        }
        self.run = run.keys.into_iter();
        Ok(())
    }
}

impl Iterator for Scan<'_> {
    type Item = Result<Box<[u8]>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(key) = self.run.next() {
                return Some(Ok(key));
            }
            if self.last {
                return None;
            }
            if let Err(error) = self.pass() {
                self.last = true;
                return Some(Err(error));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(bytes: &[u8]) -> Key {
        bytes.into()
    }

    #[test]
    fn behind_a_prefix_comes_the_next_that_is_as_long_or_shorter() {
        assert_eq!(behind_prefix(b"ab"), Some(key(b"ac")));
        assert_eq!(behind_prefix(b"a\xff\xff"), Some(key(b"b")));
        assert_eq!(behind_prefix(b"\xff"), None);
        assert_eq!(behind_prefix(b""), None);
    }

    #[test]
    fn a_run_keeps_the_smallest_and_knows_that_it_was_cut() {
        let one = cost(&key(b"x"));
        let mut run = Run::default();
        for n in [5, 3, 9, 1, 7, 3] {
            run.add(key(&[n]), 3 * one);
        }
        let kept: Vec<u8> = run.keys.iter().map(|key| key[0]).collect();
        assert_eq!((kept, run.cut, run.bytes), (vec![1, 3, 5], true, 3 * one));
        let mut small = Run::default();
        small.add(key(&[0; 1000]), 10);
        assert_eq!((small.keys.len(), small.cut), (1, false), "one always fits");
    }
}
