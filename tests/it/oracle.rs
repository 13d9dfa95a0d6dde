//! What a cache may answer: the oracle.
//!
//! Per key the list of states in the order they were issued, and a floor below which none may show. Values identify
//! themselves, so that stale, foreign, torn and resurrected are told apart.

use std::collections::BTreeMap;

/// A number unique to an operation; part of the value it wrote.
pub(crate) type Op = u64;

/// The value that operation `op` writes under `key`: key, operation, length, then bytes that follow from them.
pub(crate) fn value(key: &[u8], op: Op, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len.max(24));
    bytes.extend(op.to_le_bytes());
    bytes.extend((len.max(24) as u64).to_le_bytes());
    bytes.extend(tag(key, op).to_le_bytes());
    let mut state = tag(key, op);
    while bytes.len() < len {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        bytes.push(state.to_le_bytes()[7]);
    }
    bytes
}

fn tag(key: &[u8], op: Op) -> u64 {
    key.iter().fold(op ^ 0x9e37_79b9_7f4a_7c15, |acc, byte| {
        (acc ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Which operation wrote `found` under `key`; an error names what is wrong with it.
pub(crate) fn identify(key: &[u8], found: &[u8]) -> Result<Op, String> {
    let word = |at: usize| {
        found
            .get(at..at + 8)
            .map(|b| u64::from_le_bytes(b.try_into().unwrap()))
    };
    let (Some(op), Some(len)) = (word(0), word(8)) else {
        return Err(format!("torn: {} bytes", found.len()));
    };
    if len != found.len() as u64 {
        return Err(format!(
            "torn or foreign: {} bytes, says {len}",
            found.len()
        ));
    }
    if value(key, op, found.len()) == found {
        Ok(op)
    } else {
        Err(format!("wrong bytes of operation {op}"))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    /// The operation that wrote the value; `None` = removed.
    op: Option<Op>,
}

#[derive(Debug, Clone)]
struct Key {
    states: Vec<State>,
    /// Index of the oldest state that may show.
    durable: usize,
    returned: usize,
}

/// The states of all keys.
#[derive(Debug, Clone, Default)]
pub(crate) struct Oracle {
    keys: BTreeMap<Vec<u8>, Key>,
    /// Entries may be evicted: absence is no loss.
    pub(crate) evicting: bool,
}

impl Oracle {
    pub(crate) fn new(evicting: bool) -> Self {
        Self {
            keys: BTreeMap::new(),
            evicting,
        }
    }

    fn key(&mut self, key: &[u8]) -> &mut Key {
        let fresh = || Key {
            states: vec![State { op: None }],
            durable: 0,
            returned: 0,
        };
        self.keys.entry(key.to_vec()).or_insert_with(fresh)
    }

    /// An operation returned: `op` wrote the key, or `None` removed it.
    pub(crate) fn returned(&mut self, key: &[u8], op: Option<Op>, durable: bool) {
        self.failed(key, op);
        let key = self.key(key);
        key.returned = key.states.len() - 1;
        if durable {
            key.durable = key.returned;
        }
    }

    /// An operation failed or never returned: what it would have done may show or not.
    pub(crate) fn failed(&mut self, key: &[u8], op: Option<Op>) {
        self.key(key).states.push(State { op });
    }

    /// Everything that returned so far survives a power cut.
    pub(crate) fn all_durable(&mut self) {
        for key in self.keys.values_mut() {
            key.durable = key.returned;
        }
    }

    /// In a running process: the newest state that returned or one of failed operations since, or nothing where entries
    /// may be evicted.
    pub(crate) fn check_running(&mut self, key: &[u8], found: Option<&[u8]>) -> Result<(), String> {
        let evicting = self.evicting;
        let states = self.key(key);
        let allowed = states.states[states.returned..].to_vec();
        judge(key, &allowed, &states.states, found, evicting)
    }

    /// After a crash: a state at or above the floor. What was found is durable from now on.
    pub(crate) fn check_recovered(
        &mut self,
        key: &[u8],
        found: Option<&[u8]>,
        power: bool,
    ) -> Result<(), String> {
        let evicting = self.evicting;
        let states = self.key(key);
        let floor = if power {
            states.durable
        } else {
            states.returned
        };
        let allowed = states.states[floor..].to_vec();
        judge(key, &allowed, &states.states, found, evicting)?;
        let op = found.map(|bytes| identify(key, bytes).unwrap());
        let shown = State { op };
        // An evicted entry may come back after the next crash; nothing older than what was allowed now may.
        states.states = if allowed.contains(&shown) {
            vec![shown]
        } else {
            allowed
        };
        // Which of several it was is not known.
        (states.durable, states.returned) = (0, 0);
        Ok(())
    }

    pub(crate) fn known_keys(&self) -> Vec<Vec<u8>> {
        self.keys.keys().cloned().collect()
    }
}

fn judge(
    key: &[u8],
    allowed: &[State],
    all: &[State],
    found: Option<&[u8]>,
    evicting: bool,
) -> Result<(), String> {
    let name = String::from_utf8_lossy(key);
    let op = match found {
        None if evicting || allowed.iter().any(|s| s.op.is_none()) => return Ok(()),
        None => return Err(format!("{name}: lost; expected one of {allowed:?}")),
        Some(bytes) => identify(key, bytes).map_err(|why| format!("{name}: {why}"))?,
    };
    if allowed.iter().any(|s| s.op == Some(op)) {
        Ok(())
    } else if allowed.iter().all(|s| s.op.is_none()) {
        Err(format!("{name}: resurrected by operation {op}"))
    } else if all.iter().any(|s| s.op == Some(op)) {
        Err(format!(
            "{name}: stale, operation {op}; expected one of {allowed:?}"
        ))
    } else {
        Err(format!(
            "{name}: operation {op} is none of this key's; expected one of {allowed:?}"
        ))
    }
}
