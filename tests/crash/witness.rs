//! What the parent knows of a directory's keys: what returned, and what was under way when a child died.

use std::collections::BTreeMap;

use perennial::Cache;
use perennial_failpoints::lab::{Crash, Keeps, Oracle, value};

use crate::pipe::{Key, Kind, Message};

/// The oracle, fed by messages.
#[derive(Debug, Clone)]
pub(crate) struct Witness {
    oracle: Oracle,
    under_way: BTreeMap<Key, Message>,
    /// Operations that returned.
    pub(crate) returned: u64,
    /// Operations that were under way when their process died.
    pub(crate) interrupted: u64,
}

impl Witness {
    pub(crate) fn new(evicting: bool) -> Self {
        Self {
            oracle: Oracle::new(if evicting {
                Keeps::WhatItLikes
            } else {
                Keeps::Everything
            }),
            under_way: BTreeMap::new(),
            returned: 0,
            interrupted: 0,
        }
    }

    pub(crate) fn hear_all(&mut self, messages: Vec<Message>) -> Result<(), String> {
        messages.into_iter().try_for_each(|m| self.hear(m))
    }

    fn hear(&mut self, message: Message) -> Result<(), String> {
        let key = message.key.bytes();
        match message.kind {
            Kind::Ready => {}
            Kind::Found => {
                let len = usize::try_from(message.len).unwrap();
                let found = message.op.map(|op| value(&key, op, len));
                self.oracle
                    .check_recovered(&key, found.as_deref(), Crash::Kill)?;
            }
            Kind::Begun => drop(self.under_way.insert(message.key, message)),
            Kind::Returned => {
                self.under_way.remove(&message.key);
                self.oracle.returned(&key, message.op, false);
                self.returned += 1;
            }
            Kind::Void => drop(self.under_way.remove(&message.key)),
            Kind::Refused => {
                self.under_way.remove(&message.key);
                self.oracle.issued(&key, message.op);
            }
        }
        Ok(())
    }

    /// The process is dead: what had not returned may have happened or not.
    pub(crate) fn died(&mut self) {
        for (key, message) in std::mem::take(&mut self.under_way) {
            self.oracle.issued(&key.bytes(), message.op);
            self.interrupted += 1;
        }
    }

    /// Every key, in a cache that was opened after the process had died.
    pub(crate) fn check(&mut self, cache: &Cache) -> Result<(), String> {
        let stats = cache.stats();
        if stats.damaged + stats.forgotten_all + stats.quarantined_files > 0 {
            return Err(format!("a killed process left damage: {stats:?}"));
        }
        if stats.evicted > 0 && self.oracle.keeps() == Keeps::Everything {
            return Err("evicted though there is room".into());
        }
        for key in self.oracle.known_keys() {
            let found = cache.get(&key).map_err(|e| e.to_string())?;
            self.oracle
                .check_recovered(&key, found.as_deref(), Crash::Kill)?;
        }
        let stats = cache.stats();
        if stats.damaged_reads + stats.read_errors > 0 {
            return Err(format!("a killed process left bad frames: {stats:?}"));
        }
        Ok(())
    }
}
