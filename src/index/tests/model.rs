//! The index against a map, operation by operation.

use std::collections::HashMap;

use perennial_wal::Addr;
use quickcheck::{Arbitrary, Gen, quickcheck};

use super::{addr, enter, hash, index};
use crate::index::{Entry, Index};

/// Few keys, so that operations meet; half of them share all but the last bits of their hash.
#[derive(Clone, Copy, Debug)]
struct Key(u64);

#[derive(Clone, Debug)]
enum Op {
    Set(Key, u64),
    SetMany(Key, u64),
    Get(Key),
    Touch(Key),
    Remove(Key),
    RemoveIf(Key, u64),
    ReplaceIf(Key, u64, u64),
    /// Everything below this address dies.
    Kill(u64),
    Reload(u8),
    Clear,
}

impl Arbitrary for Key {
    fn arbitrary(g: &mut Gen) -> Self {
        let number = u64::arbitrary(g) % 150;
        Self(if bool::arbitrary(g) {
            hash(number)
        } else {
            0x7777 << 48 | number << 18
        })
    }
}

impl Arbitrary for Op {
    fn arbitrary(g: &mut Gen) -> Self {
        let key = Key::arbitrary(g);
        let units = |g: &mut Gen| u64::arbitrary(g) % 40;
        match u8::arbitrary(g) % 64 {
            0..20 => Self::Set(key, units(g)),
            20..24 => Self::SetMany(key, units(g)),
            24..34 => Self::Get(key),
            34..38 => Self::Touch(key),
            38..46 => Self::Remove(key),
            46..52 => Self::RemoveIf(key, units(g)),
            52..60 => Self::ReplaceIf(key, units(g), units(g)),
            60 => Self::Kill(units(g)),
            61..63 => Self::Reload(u8::arbitrary(g) % 6),
            _ => Self::Clear,
        }
    }
}

/// Shadows an index. Entries below `dead` may be there or not; the others must be.
struct Model {
    index: Index<()>,
    map: HashMap<u64, Entry>,
    dead: u64,
}

const BITS: u8 = 46;

fn identity(key: Key) -> u64 {
    key.0 >> (64 - BITS)
}

impl Model {
    fn new() -> Self {
        Self {
            index: index(0, BITS),
            map: HashMap::new(),
            dead: 0,
        }
    }

    fn is_live(&self) -> impl Fn(Addr) -> bool + use<> {
        let dead = self.dead;
        move |addr| addr.units() >= dead
    }

    /// What the index says must be what the model says, or missing if dead.
    fn agree(&mut self, key: Key, found: Option<Entry>) {
        let known = self.map.get(&identity(key)).copied();
        let gone = known.is_some_and(|entry| entry.addr.units() < self.dead);
        if gone && found.is_none() {
            self.map.remove(&identity(key));
        } else {
            assert_eq!(found, known, "{key:?}");
        }
    }

    fn check(&mut self, key: Key) -> Option<Entry> {
        let found = self.index.get(key.0);
        assert_eq!(found, self.index.lock(key.0).get(key.0));
        assert!(found.is_none() || self.index.may_contain(key.0));
        self.agree(key, found);
        found
    }

    fn set(&mut self, key: Key, units: u64) {
        let units = units.max(self.dead);
        let entry = fresh(units);
        let mut shard = self.index.lock(key.0);
        // Either way, in turn.
        let replaced = if entry.addr.units().is_multiple_of(2) {
            let new = (entry.addr, entry.size_class);
            enter(&mut shard, key.0, new, &self.is_live())
        } else {
            shard.prepare(key.0);
            shard.set(key.0, entry.addr, entry.size_class, &self.is_live())
        };
        drop(shard);
        self.agree(key, replaced);
        self.map.insert(identity(key), entry);
    }

    fn replace_if(&mut self, key: Key, old: u64, new: u64) {
        let expected = self.check(key).is_some_and(|e| e.addr == addr(old));
        let entry = fresh(new.max(self.dead));
        let done =
            self.index
                .lock(key.0)
                .replace_if(key.0, addr(old), entry.addr, entry.size_class);
        assert_eq!(done, expected);
        if done {
            self.map.insert(identity(key), entry);
        }
    }

    fn remove_if(&mut self, key: Key, units: u64) {
        let expected = self.check(key).is_some_and(|e| e.addr == addr(units));
        let done = self.index.lock(key.0).remove_if(key.0, addr(units));
        assert_eq!(done, expected);
        if done {
            self.map.remove(&identity(key));
        }
    }

    fn touch(&mut self, key: Key) {
        if let Some(entry) = self.check(key) {
            self.index.touch(key.0, addr(entry.addr.units() + 1));
            assert_eq!(self.check(key), Some(entry));
            self.index.touch(key.0, entry.addr);
            let known = self.map.get_mut(&identity(key)).unwrap();
            known.visited = (known.visited + 1).min(3);
        }
        self.check(key);
    }

    /// Through an image into an index of another number of shards.
    fn reload(&mut self, shards_log2: u8) {
        let mut image = Vec::new();
        for shard in 0..self.index.shards() {
            self.index.image(shard, &self.is_live(), &mut image);
        }
        let live = self.is_live();
        self.map.retain(|_, entry| live(entry.addr));
        assert_eq!(self.index.len(), self.map.len(), "the dead were erased");
        assert_eq!(image.len(), self.map.len());
        self.index = index(shards_log2, BITS);
        self.index.reserve_entries(image.len() / 2);
        for entry in image {
            self.index.load(entry, &live);
        }
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Set(key, units) => self.set(key, units),
            Op::SetMany(key, units) => {
                for i in 0..60 {
                    self.set(Key(key.0.wrapping_add(i << 18)), units + i % 3);
                }
            }
            Op::Get(key) => drop(self.check(key)),
            Op::Touch(key) => self.touch(key),
            Op::Remove(key) => {
                let removed = self.index.lock(key.0).remove(key.0);
                self.agree(key, removed);
                self.map.remove(&identity(key));
            }
            Op::RemoveIf(key, units) => self.remove_if(key, units),
            Op::ReplaceIf(key, old, new) => self.replace_if(key, old, new),
            Op::Kill(units) => self.dead = self.dead.max(units),
            Op::Reload(shards_log2) => self.reload(shards_log2),
            Op::Clear => {
                self.index.clear();
                self.map.clear();
            }
        }
    }

    fn check_all(&mut self) {
        let known: Vec<u64> = self.map.keys().copied().collect();
        for identity in known {
            self.check(Key(identity << (64 - BITS)));
        }
        assert_eq!(self.index.len(), self.map.len());
    }
}

fn fresh(units: u64) -> Entry {
    Entry {
        addr: addr(units),
        size_class: u8::try_from(units % 63).unwrap() + 1,
        visited: 0,
    }
}

quickcheck! {
    fn the_index_does_what_a_map_does(ops: Vec<Op>) -> bool {
        let mut model = Model::new();
        for op in &ops {
            model.apply(op);
        }
        model.check_all();
        true
    }
}
