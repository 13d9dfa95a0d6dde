//! What a store may answer: the oracle.
//!
//! Per key it keeps the states in the order they were issued, and two floors below which none may show: what had
//! returned, which a killed process must keep, and what was durable, which a power loss must keep too.
//!
//! ```text
//!   states of a key:   absent   op 3   op 7   removed   op 12   op 15
//!                                ^ durable            ^ returned
//!   allowed after a power loss:  op 3 .. op 15        after a kill: removed .. op 15
//! ```

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::value::{Op, identify};

/// What absence means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Keeps {
    /// A store: what was put is there until it is removed.
    Everything,
    /// A cache: any entry may be gone at any time, and then stays gone until it is put again.
    WhatItLikes,
}

/// How the life ended before a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Crash {
    /// The process was killed; the machine ran on.
    Kill,
    /// The power failed.
    Power,
}

/// `None` = removed, or never put.
type State = Option<Op>;

#[derive(Debug, Clone, Hash)]
struct Key {
    states: Vec<State>,
    /// Index of the oldest state that may show after a power loss.
    durable: usize,
    /// Index of the oldest state that may show after a kill, and in a running process.
    returned: usize,
}

/// The states of all keys.
#[derive(Debug, Clone)]
pub struct Oracle {
    keys: BTreeMap<Vec<u8>, Key>,
    keeps: Keeps,
    /// The last thing issued on every key is a clear that has not returned.
    clearing: bool,
}

impl Oracle {
    /// Nothing was put yet.
    #[must_use]
    pub fn new(keeps: Keeps) -> Self {
        Self {
            keys: BTreeMap::new(),
            keeps,
            clearing: false,
        }
    }

    /// What absence means.
    #[must_use]
    pub const fn keeps(&self) -> Keeps {
        self.keeps
    }

    /// What absence means from now on: a cache that has room for everything has kept everything so far.
    pub const fn set_keeps(&mut self, keeps: Keeps) {
        self.keeps = keeps;
    }

    fn key(&mut self, key: &[u8]) -> &mut Key {
        let fresh = || Key {
            states: vec![None],
            durable: 0,
            returned: 0,
        };
        self.keys.entry(key.to_vec()).or_insert_with(fresh)
    }

    /// An operation is about to begin, or has failed, or never returned: what it does (`Some`: put, `None`: remove) may
    /// show or not.
    pub fn issued(&mut self, key: &[u8], state: Option<Op>) {
        self.clearing = false;
        self.key(key).states.push(state);
    }

    /// Everything is about to be removed, or that has failed, or never returned: it may be there as a whole or not at all.
    pub fn clear_issued(&mut self) {
        for key in self.keys.values_mut() {
            key.states.push(None);
        }
        self.clearing = true;
    }

    /// The clear issued last returned: nothing from before it shows any more, whatever happens.
    pub fn clear_returned(&mut self) {
        for key in self.keys.values_mut() {
            key.returned = key.states.len() - 1;
        }
        self.clearing = false;
        self.all_durable();
    }

    /// The operation issued last on this key returned.
    pub fn acknowledged(&mut self, key: &[u8], durable: bool) {
        let key = self.key(key);
        key.returned = key.states.len() - 1;
        if durable {
            key.durable = key.returned;
        }
    }

    /// An operation was issued and returned.
    pub fn returned(&mut self, key: &[u8], state: Option<Op>, durable: bool) {
        self.issued(key, state);
        self.acknowledged(key, durable);
    }

    /// The power failed, and nobody has looked yet: what was not durable may be gone, whatever happens now.
    pub fn power_was_lost(&mut self) {
        for key in self.keys.values_mut() {
            key.returned = key.durable;
        }
    }

    /// Everything that returned so far survives a power loss: a flush, a close.
    pub fn all_durable(&mut self) {
        for key in self.keys.values_mut() {
            key.durable = key.returned;
        }
    }

    /// Checks what a running store showed.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_running(&mut self, key: &[u8], found: Option<&[u8]>) -> Result<(), String> {
        let keeps = self.keeps;
        let key_states = self.key(key);
        let allowed = &key_states.states[key_states.returned..];
        judge(key, allowed, &key_states.states, found, keeps)
    }

    /// Checks what a store showed after a crash; what was seen stays from now on.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_recovered(
        &mut self,
        key: &[u8],
        found: Option<&[u8]>,
        crash: Crash,
    ) -> Result<(), String> {
        let keeps = self.keeps;
        let states = self.key(key);
        let floor = match crash {
            Crash::Power => states.durable,
            Crash::Kill => states.returned,
        };
        let allowed = states.states.split_off(floor);
        judge(key, &allowed, &states.states, found, keeps)?;
        let shown = found.and_then(|bytes| identify(key, bytes).ok());
        // An entry that a cache does not show may come back after the next crash; nothing older than was allowed may.
        states.states = if allowed.contains(&shown) {
            vec![shown]
        } else {
            allowed
        };
        (states.durable, states.returned) = (0, 0);
        Ok(())
    }

    /// Checks what a store shows of all keys after a crash in the middle of a clear: all of it or nothing of it happened.
    /// Comes before [`check_recovered`](Self::check_recovered) of each. Of a cache that may have evicted anything it can
    /// say nothing.
    ///
    /// # Errors
    /// A key that went alone.
    pub fn check_clear(
        &mut self,
        shown: &[(Vec<u8>, Option<Vec<u8>>)],
        crash: Crash,
    ) -> Result<(), String> {
        let in_its_middle = std::mem::take(&mut self.clearing);
        let nothing_left = shown.iter().all(|(_, found)| found.is_none());
        if !in_its_middle || nothing_left || self.keeps == Keeps::WhatItLikes {
            return Ok(());
        }
        let mut gone = shown.iter().filter(|(_, found)| found.is_none());
        let alone = gone.find(|(key, _)| {
            let before_it = self.keys.get(key).map_or(&[][..], |key| {
                let floor = match crash {
                    Crash::Power => key.durable,
                    Crash::Kill => key.returned,
                };
                &key.states[floor..key.states.len() - 1]
            });
            !before_it.contains(&None) && !before_it.is_empty()
        });
        alone.map_or(Ok(()), |(key, _)| {
            let name = String::from_utf8_lossy(key);
            Err(format!("{name}: cleared, and others were not"))
        })
    }

    /// The keys that were ever named.
    #[must_use]
    pub fn known_keys(&self) -> Vec<Vec<u8>> {
        self.keys.keys().cloned().collect()
    }

    /// A number for everything the oracle knows: two crashes with the same image and the same number are one case.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.keys, self.keeps, self.clearing).hash(&mut hasher);
        hasher.finish()
    }
}

fn judge(
    key: &[u8],
    allowed: &[State],
    older: &[State],
    found: Option<&[u8]>,
    keeps: Keeps,
) -> Result<(), String> {
    let name = String::from_utf8_lossy(key);
    let Some(bytes) = found else {
        let may_be_gone = keeps == Keeps::WhatItLikes || allowed.contains(&None);
        return if may_be_gone {
            Ok(())
        } else {
            Err(format!("{name}: lost; expected one of {allowed:?}"))
        };
    };
    let op = identify(key, bytes).map_err(|why| format!("{name}: {why}"))?;
    let shown = Some(op);
    if allowed.contains(&shown) {
        Ok(())
    } else if allowed.iter().all(Option::is_none) {
        Err(format!("{name}: resurrected, operation {op}"))
    } else if older.contains(&shown) {
        Err(format!(
            "{name}: stale, operation {op}; expected one of {allowed:?}"
        ))
    } else {
        Err(format!(
            "{name}: operation {op} is none of this key's; expected one of {allowed:?}"
        ))
    }
}
