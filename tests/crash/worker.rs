//! One thread of a child: random operations on keys of its own, each announced before and reported after.

use std::convert::Infallible;
use std::fmt::Display;
use std::time::Duration;

use perennial::{Cache, Inserted};
use perennial_failpoints::lab::{Op, identify, value};

use crate::pipe::{Key, Kind, Message, Pipe};
use crate::random::Random;

/// Keys per thread.
pub(crate) const KEYS: u16 = 24;

/// How long a slow closure takes.
const SLOW: Duration = Duration::from_micros(500);

/// How a worker works.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    /// Entries may be missing.
    pub(crate) evicting: bool,
    /// The longest value.
    pub(crate) max_len: u64,
    /// It never asks for durability.
    pub(crate) plain: bool,
    /// How many bytes of log it may fill.
    pub(crate) budget: u64,
}

/// Operation numbers are unique to a life and a thread.
pub(crate) fn first_op(life: u64, thread: u8) -> Op {
    (life << 32 | u64::from(thread) << 24) + 1
}

pub(crate) struct Worker<'a> {
    pub(crate) cache: &'a Cache,
    pub(crate) pipe: &'a Pipe,
    pub(crate) thread: u8,
    pub(crate) style: Style,
    pub(crate) next_op: Op,
    pub(crate) random: Random,
    /// The operation that wrote each key's value.
    newest: Vec<Option<Op>>,
}

impl<'a> Worker<'a> {
    pub(crate) fn new(
        cache: &'a Cache,
        pipe: &'a Pipe,
        thread: u8,
        style: Style,
        life: u64,
        seed: u64,
    ) -> Self {
        Self {
            cache,
            pipe,
            thread,
            style,
            next_op: first_op(life, thread),
            random: Random::new(seed ^ first_op(life, thread)),
            newest: vec![None; usize::from(KEYS)],
        }
    }

    fn key(&self, number: u16) -> Key {
        Key {
            thread: self.thread,
            number,
        }
    }

    fn op(&mut self) -> Op {
        self.next_op += 1;
        self.next_op
    }

    fn say(&self, kind: Kind, key: Key, op: Option<Op>, len: usize) {
        self.pipe.say(Message::new(kind, key, op, len));
    }

    /// An operation that makes `op` the newest of the key.
    fn tell<T, E: Display>(
        &mut self,
        key: Key,
        op: Option<Op>,
        call: impl FnOnce(&Cache, &[u8]) -> Result<T, E>,
    ) -> Result<T, String> {
        self.say(Kind::Begun, key, op, 0);
        let result = call(self.cache, &key.bytes()).map_err(|error| error.to_string())?;
        self.say(Kind::Returned, key, op, 0);
        self.newest[usize::from(key.number)] = op;
        Ok(result)
    }

    /// Reports what was found at the start.
    pub(crate) fn look_around(&mut self) -> Result<(), String> {
        for number in 0..KEYS {
            let key = self.key(number);
            let found = self.get(key)?;
            let op = found.as_ref().map(|(op, _)| *op);
            self.say(Kind::Found, key, op, found.map_or(0, |(_, len)| len));
            self.newest[usize::from(number)] = op;
        }
        Ok(())
    }

    /// What is there, by its own account.
    fn get(&self, key: Key) -> Result<Option<(Op, usize)>, String> {
        let bytes = key.bytes();
        let found = self.cache.get(&bytes).map_err(|e| e.to_string())?;
        found
            .map(|found| Ok((identify(&bytes, &found)?, found.len())))
            .transpose()
    }

    fn check(&self, key: Key) -> Result<(), String> {
        let found = self.get(key)?.map(|(op, _)| op);
        let newest = self.newest[usize::from(key.number)];
        if found == newest || (found.is_none() && self.style.evicting) {
            Ok(())
        } else {
            Err(format!("{key:?}: {found:?} in place of {newest:?}"))
        }
    }

    /// Any bytes of any thread's key must be that key's.
    fn look_at_another(&mut self) -> Result<(), String> {
        let thread = u8::try_from(self.random.below(4)).unwrap();
        let number = self.number();
        self.get(Key { thread, number }).map(drop)
    }

    fn number(&mut self) -> u16 {
        u16::try_from(self.random.below(u64::from(KEYS))).unwrap()
    }

    fn len(&mut self) -> usize {
        let end = match self.random.below(12) {
            0 => self.style.max_len,
            1..=5 => 500,
            _ => 60,
        };
        usize::try_from(self.random.below(end)).unwrap()
    }

    /// One operation. Without budget left, only those that fill nothing.
    pub(crate) fn step(&mut self) -> Result<(), String> {
        let key = self.number();
        let (key, len) = (self.key(key), self.len());
        let cost = 2 * len as u64 + 512;
        if self.style.budget < cost {
            self.check(key)?;
            std::thread::yield_now();
            return self.look_at_another();
        }
        // The last twelve are durable.
        let choice = self.random.below(if self.style.plain { 88 } else { 100 });
        self.style.budget -= cost;
        match choice {
            0..=41 => self.insert(key, len),
            42..=51 => self.insert_with_len(key, len),
            52..=61 => self.fetch(key, len),
            62..=72 => self.remove(key),
            73..=80 => self.check(key),
            81..=87 => self.look_at_another(),
            88..=95 => self.insert_durable(key, len),
            96..=97 => self.tell(key, None, |cache, key| cache.remove_durable(key)),
            98 if self.random.one_in(8) => self.cache.checkpoint().map_err(|e| e.to_string()),
            _ => self.cache.flush().map_err(|e| e.to_string()),
        }
    }

    pub(crate) fn insert(&mut self, key: Key, len: usize) -> Result<(), String> {
        let op = self.op();
        let stored = self.tell(key, Some(op), |cache, key| {
            cache.insert(key, value(key, op, len))
        })?;
        expect_stored(stored)
    }

    pub(crate) fn remove(&mut self, key: Key) -> Result<(), String> {
        self.tell(key, None, |cache, key| cache.remove(key))
    }

    fn insert_durable(&mut self, key: Key, len: usize) -> Result<(), String> {
        let op = self.op();
        let stored = self.tell(key, Some(op), |cache, key| {
            cache.insert_durable(key, value(key, op, len))
        })?;
        expect_stored(stored)
    }

    fn insert_with_len(&mut self, key: Key, len: usize) -> Result<(), String> {
        let op = self.op();
        let fails = self.random.one_in(4);
        // A process killed meanwhile leaves a hole in front of what others stored.
        let slow = self.random.one_in(4);
        // An insert that fails leaves nothing, not even the older version.
        let after = (!fails).then_some(op);
        self.tell(key, after, |cache, key| {
            let made = value(key, op, len);
            let inserted = cache.insert_with_len(key, made.len(), |buf| {
                let (first, second) = buf.split_at_mut(made.len() / 2);
                first.copy_from_slice(&made[..first.len()]);
                if slow {
                    std::thread::sleep(SLOW);
                }
                second.copy_from_slice(&made[first.len()..]);
                if fails { Err("no") } else { Ok(()) }
            });
            match inserted {
                Err(_) if fails => Ok(()),
                Err(error) => Err(error.to_string()),
                Ok(_) if fails => Err("an insert that failed returned Ok".into()),
                Ok(stored) => expect_stored(stored),
            }
        })
    }

    fn fetch(&mut self, key: Key, len: usize) -> Result<(), String> {
        let op = self.op();
        self.say(Kind::Begun, key, Some(op), 0);
        let bytes = key.bytes();
        let mut fetched = false;
        let got = self.cache.get_or_fetch(&bytes, || {
            fetched = true;
            Ok::<_, Infallible>(value(&bytes, op, len))
        });
        let found = identify(&bytes, &got.map_err(|e| e.to_string())?)?;
        let newest = &mut self.newest[usize::from(key.number)];
        let expected = if fetched { Some(op) } else { *newest };
        if expected != Some(found) {
            return Err(format!("{key:?}: fetched {found}, expected {expected:?}"));
        }
        if fetched {
            *newest = Some(op);
            self.say(Kind::Returned, key, Some(op), 0);
        } else {
            self.say(Kind::Void, key, None, 0);
        }
        Ok(())
    }
}

fn expect_stored(inserted: Inserted) -> Result<(), String> {
    match inserted {
        Inserted::Stored => Ok(()),
        other => Err(format!("not stored: {other:?}")),
    }
}
