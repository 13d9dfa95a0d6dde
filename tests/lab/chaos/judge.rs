//! What a cache may show after all that came over it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};

use perennial::Cache;
use perennial_failpoints::lab::{Crash, Keeps, Oracle, identify};

/// The oracle, and of which keys it can say nothing any more.
pub(super) struct Judge {
    pub(super) journal: Arc<Mutex<Oracle>>,
    /// Something was damaged in silence since these were durable: any whole value of theirs may show.
    unknown: BTreeSet<Vec<u8>>,
    /// Those that returned since the last recovery.
    fresh: BTreeSet<Vec<u8>>,
    /// Looks that the oracle decided on.
    pub(super) strict: u64,
}

impl Judge {
    pub(super) fn new(keeps: Keeps) -> Self {
        Self {
            journal: Arc::new(Mutex::new(Oracle::new(keeps))),
            unknown: BTreeSet::new(),
            fresh: BTreeSet::new(),
            strict: 0,
        }
    }

    pub(super) fn oracle(&self) -> MutexGuard<'_, Oracle> {
        self.journal.lock().expect("nothing panics under it")
    }

    /// The operation issued last on this key returned.
    pub(super) fn acknowledged(&mut self, key: &[u8], durable: bool) {
        self.oracle().acknowledged(key, durable);
        self.fresh.insert(key.to_vec());
        if durable {
            self.unknown.remove(key);
        }
    }

    pub(super) fn all_durable(&mut self) {
        self.oracle().all_durable();
        let fresh = std::mem::take(&mut self.fresh);
        self.unknown.retain(|key| !fresh.contains(key));
    }

    /// What is known now, for who has to [take back](Self::take_back) what came of a call that never returned.
    pub(super) fn known(&self) -> [BTreeSet<Vec<u8>>; 2] {
        [self.unknown.clone(), self.fresh.clone()]
    }

    pub(super) fn take_back(&mut self, [unknown, fresh]: [BTreeSet<Vec<u8>>; 2]) {
        (self.unknown, self.fresh) = (unknown, fresh);
    }

    pub(super) fn all_known(&mut self) {
        self.unknown.clear();
    }

    /// Looks at a key of a running cache.
    pub(super) fn look_at(&mut self, cache: &Cache, key: &[u8]) -> Result<(), String> {
        let found = cache.get(key).map_err(|e| format!("a read fails: {e}"))?;
        if self.unknown.contains(key) {
            return whole(key, found.as_deref());
        }
        self.strict += 1;
        self.oracle().check_running(key, found.as_deref())
    }

    /// Looks at every key of a running cache.
    pub(super) fn look(&mut self, cache: &Cache) -> Result<(), String> {
        let keys = self.oracle().known_keys();
        keys.iter().try_for_each(|key| self.look_at(cache, key))
    }

    /// Looks at everything that a recovery found; what it shows stays. After `silence` nothing is known any more. Where a
    /// fault was `met` on the way, a miss says nothing: the entry may be there again when it can be read.
    pub(super) fn look_at_recovered(
        &mut self,
        cache: &Cache,
        silence: bool,
        met: impl Fn() -> bool,
    ) -> Result<(), String> {
        let keys = self.oracle().known_keys();
        self.fresh.clear();
        if silence {
            self.unknown.extend(keys.iter().cloned());
        }
        let mut shown = Vec::new();
        for key in keys {
            let found = cache.get(&key).map_err(|e| format!("a read fails: {e}"))?;
            shown.push((key, found.map(|found| found.to_vec())));
        }
        let (strict, met) = (self.unknown.is_empty(), met());
        let mut oracle = self.journal.lock().expect("nothing panics under it");
        if strict {
            oracle.check_clear(&shown, Crash::Kill)?;
        }
        for (key, found) in &shown {
            if self.unknown.contains(key) {
                whole(key, found.as_deref())?;
                // What the oracle knew of it is no more than that it is somebody's.
                oracle.check_recovered(key, None, Crash::Kill)?;
            } else if found.is_some() || !met || oracle.keeps() == Keeps::Everything {
                self.strict += 1;
                oracle.check_recovered(key, found.as_deref(), Crash::Kill)?;
            }
        }
        Ok(())
    }
}

/// A whole value that was once stored for this key.
fn whole(key: &[u8], found: Option<&[u8]>) -> Result<(), String> {
    let identified = found.map(|found| identify(key, found));
    identified.map_or(Ok(()), |identified| {
        let name = String::from_utf8_lossy(key);
        identified.map(drop).map_err(|why| format!("{name}: {why}"))
    })
}
