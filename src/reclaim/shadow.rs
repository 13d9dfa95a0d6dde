//! A cache of nothing but metadata: which keys of a sample would be there, if survivors were placed one way or the other.
//!
//! ```text
//!   probation: a queue, a quarter of the units      kept: a list, oldest first
//!   new ─▶ [ . . . . . . ] ─▶ visited, or a ghost? ─▶ [ . . . . . . . . ] ◀─ promoted
//!                           else a ghost                    ▲ the hand
//! ```

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use super::ghost::Ghost;

/// Where a survivor of the kept list goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Survivors {
    /// They stay, and the hand goes on behind them (SIEVE).
    InPlace,
    /// To the end where promoted entries come in (CLOCK).
    ToHead,
}

/// No node.
const NIL: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
struct Node {
    hash: u64,
    units: u32,
    /// The next newer one in the kept list; in the list of free nodes the next free one.
    next: u32,
    visits: u8,
}

#[derive(Debug)]
pub(super) struct Shadow {
    survivors: Survivors,
    promote: u8,
    log_percent: u64,
    capacity: u64,
    map: HashMap<u64, u32, BuildHasherDefault<AsIs>>,
    nodes: Vec<Node>,
    free: u32,
    probation: VecDeque<u32>,
    probation_units: u64,
    kept_units: u64,
    oldest: u32,
    newest: u32,
    /// The node before the hand; NIL: the hand is at the oldest.
    before_hand: u32,
    ghost: Ghost,
}

impl Shadow {
    pub(super) fn new(survivors: Survivors, promote: u8, log_percent: u64) -> Self {
        Self {
            survivors,
            promote,
            log_percent,
            capacity: 0,
            map: HashMap::default(),
            nodes: Vec::new(),
            free: NIL,
            probation: VecDeque::new(),
            probation_units: 0,
            kept_units: 0,
            oldest: NIL,
            newest: NIL,
            before_hand: NIL,
            ghost: Ghost::new(),
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new(self.survivors, self.promote, self.log_percent);
    }

    /// The shape of the sample of the cache.
    pub(super) fn resize(&mut self, units: u64, ghosts: u64) {
        self.capacity = units;
        self.ghost.resize(ghosts);
    }

    /// A key is asked for. True: it is there.
    pub(super) fn read(&mut self, hash: u64) -> bool {
        let Some(&at) = self.map.get(&hash) else {
            return false;
        };
        let visits = &mut self.nodes[at as usize].visits;
        *visits = (*visits + 1).min(3);
        true
    }

    /// A key is stored, if it is not there.
    pub(super) fn insert(&mut self, hash: u64, units: u32) {
        if self.map.contains_key(&hash) || u64::from(units) > self.capacity {
            return;
        }
        let at = self.allocate(Node {
            hash,
            units,
            next: NIL,
            visits: 0,
        });
        self.map.insert(hash, at);
        self.probation.push_back(at);
        self.probation_units += u64::from(units);
        while self.probation_units + self.kept_units > self.capacity {
            if self.probation_units * 100 > self.capacity * self.log_percent || self.oldest == NIL {
                self.leave_probation();
            } else {
                self.evict_kept();
            }
        }
    }

    fn leave_probation(&mut self) {
        let Some(at) = self.probation.pop_front() else {
            return;
        };
        let node = self.nodes[at as usize];
        self.probation_units -= u64::from(node.units);
        if node.visits >= self.promote || self.ghost.contains(node.hash) {
            self.ghost.remove(node.hash);
            self.link_newest(at);
        } else {
            self.ghost.insert(node.hash);
            self.release(at);
        }
    }

    fn evict_kept(&mut self) {
        loop {
            let at = self.at_hand();
            if at == NIL {
                return;
            }
            if self.nodes[at as usize].visits == 0 {
                self.unlink_at_hand(at);
                self.release(at);
                return;
            }
            match self.survivors {
                Survivors::InPlace => {
                    self.nodes[at as usize].visits = 0;
                    self.before_hand = at;
                }
                Survivors::ToHead => {
                    self.unlink_at_hand(at);
                    self.link_newest(at);
                }
            }
        }
    }

    /// The node that the hand points at; behind the newest it begins again.
    fn at_hand(&mut self) -> u32 {
        if self.before_hand == self.newest {
            self.before_hand = NIL;
        }
        match self.before_hand {
            NIL => self.oldest,
            before => self.nodes[before as usize].next,
        }
    }

    fn unlink_at_hand(&mut self, at: u32) {
        let Node { next, units, .. } = self.nodes[at as usize];
        self.kept_units -= u64::from(units);
        match self.before_hand {
            NIL => self.oldest = next,
            before => self.nodes[before as usize].next = next,
        }
        if self.newest == at {
            self.newest = self.before_hand;
        }
    }

    fn link_newest(&mut self, at: u32) {
        let node = &mut self.nodes[at as usize];
        node.next = NIL;
        node.visits = 0;
        self.kept_units += u64::from(node.units);
        match self.newest {
            NIL => self.oldest = at,
            newest => self.nodes[newest as usize].next = at,
        }
        self.newest = at;
    }

    fn allocate(&mut self, node: Node) -> u32 {
        match self.free {
            NIL => {
                self.nodes.push(node);
                u32::try_from(self.nodes.len() - 1).unwrap_or(NIL)
            }
            at => {
                self.free = self.nodes[at as usize].next;
                self.nodes[at as usize] = node;
                at
            }
        }
    }

    fn release(&mut self, at: u32) {
        let node = &mut self.nodes[at as usize];
        self.map.remove(&node.hash);
        node.next = self.free;
        self.free = at;
    }
}

/// Hashes are hashes already.
#[derive(Debug, Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
