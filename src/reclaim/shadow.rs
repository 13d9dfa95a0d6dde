//! A cache of nothing but metadata: which keys of a sample would be there, if survivors were placed one way or the other.
//!
//! ```text
//!   probation: a queue, a quarter of the bytes      kept: a list, oldest first
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
    tag: u32,
    bytes: u32,
    /// The next newer one in the kept list; in the list of free nodes the next free one.
    next: u32,
}

#[derive(Debug)]
pub(super) struct Shadow {
    survivors: Survivors,
    promote: u8,
    log_percent: u64,
    capacity: u64,
    map: HashMap<u32, u32, BuildHasherDefault<AsIs>>,
    nodes: Vec<Node>,
    free: u32,
    probation: VecDeque<u32>,
    probation_bytes: u64,
    kept_bytes: u64,
    oldest: u32,
    newest: u32,
    /// Of each node, 0 to 3.
    visits: Vec<u8>,
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
            probation_bytes: 0,
            kept_bytes: 0,
            oldest: NIL,
            newest: NIL,
            visits: Vec::new(),
            before_hand: NIL,
            ghost: Ghost::new(),
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new(self.survivors, self.promote, self.log_percent);
    }

    /// The shape of the sample of the cache.
    pub(super) fn resize(&mut self, bytes: u64, ghosts: u64) {
        self.capacity = bytes;
        self.ghost.resize(ghosts);
    }

    /// A key is asked for. True: it is there.
    pub(super) fn read(&mut self, tag: u32) -> bool {
        let Some(&at) = self.map.get(&tag) else {
            return false;
        };
        let visits = &mut self.visits[at as usize];
        *visits = (*visits + 1).min(3);
        true
    }

    /// A key is stored, if it is not there.
    pub(super) fn insert(&mut self, tag: u32, bytes: u32) {
        if self.map.contains_key(&tag) || u64::from(bytes) > self.capacity {
            return;
        }
        let at = self.allocate(Node {
            tag,
            bytes,
            next: NIL,
        });
        self.map.insert(tag, at);
        self.probation.push_back(at);
        self.probation_bytes += u64::from(bytes);
        while self.probation_bytes + self.kept_bytes > self.capacity {
            if self.probation_bytes * 100 > self.capacity * self.log_percent || self.oldest == NIL {
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
        self.probation_bytes -= u64::from(node.bytes);
        let ghost = spread(node.tag);
        if self.visits[at as usize] >= self.promote || self.ghost.contains(ghost) {
            self.ghost.remove(ghost);
            self.link_newest(at);
        } else {
            self.ghost.insert(ghost);
            self.release(at);
        }
    }

    fn evict_kept(&mut self) {
        loop {
            let at = self.at_hand();
            if at == NIL {
                return;
            }
            if self.visits[at as usize] == 0 {
                self.unlink_at_hand(at);
                self.release(at);
                return;
            }
            match self.survivors {
                Survivors::InPlace => {
                    self.visits[at as usize] = 0;
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
        let Node { next, bytes, .. } = self.nodes[at as usize];
        self.kept_bytes -= u64::from(bytes);
        match self.before_hand {
            NIL => self.oldest = next,
            before => self.nodes[before as usize].next = next,
        }
        if self.newest == at {
            self.newest = self.before_hand;
        }
    }

    fn link_newest(&mut self, at: u32) {
        self.visits[at as usize] = 0;
        let node = &mut self.nodes[at as usize];
        node.next = NIL;
        self.kept_bytes += u64::from(node.bytes);
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
                self.visits.push(0);
                u32::try_from(self.nodes.len() - 1).unwrap_or(NIL)
            }
            at => {
                self.free = self.nodes[at as usize].next;
                self.nodes[at as usize] = node;
                self.visits[at as usize] = 0;
                at
            }
        }
    }

    fn release(&mut self, at: u32) {
        let node = &mut self.nodes[at as usize];
        self.map.remove(&node.tag);
        node.next = self.free;
        self.free = at;
    }
}

/// What the ghost takes for a hash: it looks at both ends.
fn spread(tag: u32) -> u64 {
    u64::from(tag) << 32 | u64::from(tag)
}

/// Tags are parts of hashes already. The table looks at both ends of what it is given.
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

    fn write_u32(&mut self, tag: u32) {
        self.0 = spread(tag);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Room for `keys` entries of ten bytes, a quarter of it for probation.
    fn shadow(survivors: Survivors, keys: u64) -> Shadow {
        let mut shadow = Shadow::new(survivors, 1, 25);
        shadow.resize(keys * 10, keys);
        shadow
    }

    fn ask(shadow: &mut Shadow, tag: u32) -> bool {
        let hit = shadow.read(tag);
        shadow.insert(tag, 10);
        hit
    }

    /// Tags far apart, as parts of hashes are.
    fn tag(n: u32) -> u32 {
        n.wrapping_mul(0x9e37_79b1)
    }

    #[test]
    fn what_is_read_outlives_a_scan() {
        for survivors in [Survivors::InPlace, Survivors::ToHead] {
            let mut shadow = shadow(survivors, 100);
            (0..20).for_each(|n| {
                ask(&mut shadow, tag(n));
                ask(&mut shadow, tag(n));
            });
            (1000..5000).for_each(|n| assert!(!ask(&mut shadow, tag(n))));
            let there = (0..20).filter(|n| shadow.read(tag(*n))).count();
            assert_eq!(there, 20, "{survivors:?}");
        }
    }

    #[test]
    fn a_ghost_that_returns_is_kept() {
        let mut shadow = shadow(Survivors::InPlace, 40);
        (0..80).for_each(|n| assert!(!ask(&mut shadow, tag(n))));
        assert!(!ask(&mut shadow, tag(39)), "the newest one that is gone");
        (100..140).for_each(|n| assert!(!ask(&mut shadow, tag(n))));
        assert!(shadow.read(tag(39)), "it was not read while it was there");
    }

    #[test]
    fn bytes_are_bounded_and_nodes_used_again() {
        let mut shadow = shadow(Survivors::ToHead, 50);
        for n in 0..10_000 {
            ask(&mut shadow, tag(n * 7 % 130));
            assert!(shadow.probation_bytes + shadow.kept_bytes <= 500);
        }
        assert_eq!(shadow.map.len(), 50);
        assert!(shadow.nodes.len() <= 51);
        shadow.insert(tag(9999), 501);
        assert!(!shadow.read(tag(9999)), "larger than the cache");
    }

    #[test]
    fn the_two_differ_where_recency_counts() {
        // Kept entries that were read long ago: in place the hand passes them once a lap, and new ones pile up at the head.
        let hits = |survivors| {
            let mut shadow = shadow(survivors, 100);
            let mut hits = 0;
            for n in 0..20_000_u32 {
                hits += u32::from(ask(&mut shadow, tag(n / 40 + n * n % 60)));
            }
            hits
        };
        assert_ne!(hits(Survivors::InPlace), hits(Survivors::ToHead));
    }
}
