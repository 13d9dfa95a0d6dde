//! The child: fills the disk around its cache and says what each call answers.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::path::Path;
use std::process::Command;

use perennial::{Cache, Error, ErrorKind, HealthCause, HealthState};
use perennial_failpoints::lab::{Keeps, Op, Oracle, identify, value};

use super::{SEGMENT, When, cache_on, options, within_the_capacity};
use crate::directory::{bytes_in, text};
use crate::disk;
use crate::pipe::{Key, Kind, Message, Pipe};

/// Of about 16 KiB each: more than half of the capacity.
const KEYS: u64 = 1_500;
/// What is stored before the disk fills up around a cache that grows.
const BEFORE: u64 = 16 << 20;
/// What is stored in a cache that is copied then: it fits.
const COPIED: u64 = 6 << 20;

pub(crate) fn child(pipe: &Pipe, arguments: &[String]) -> Result<(), String> {
    let [root, when, leave, room, killed] = arguments else {
        return Err("root, when, leave, room, killed".into());
    };
    let (when, root) = (When::parse(when, leave), Path::new(root));
    let mut life = Life::new(pipe, root, matches!(when, When::Writing(_)));
    let opened = life.until_full(when)?;
    let room = room == "true";
    if room {
        life.make_room()?;
    }
    let cache = match opened {
        None if !room => None,
        None => Some(life.open().map_err(|error| format!("reopen: {error}"))?),
        some => some,
    };
    if let Some(cache) = &cache {
        if room {
            life.is_served(cache)?;
        }
        life.look(cache, true)?;
    }
    if killed == "true" {
        pipe.say(Message::ready());
        loop {
            std::thread::park();
        }
    }
    cache.map_or(Ok(()), |cache| close(pipe, cache, room))
}

/// Says how many entries went for the close's checkpoint.
fn close(pipe: &Pipe, cache: Cache, room: bool) -> Result<(), String> {
    let (left, before) = (cache.clone(), cache.stats().evicted);
    match cache.close() {
        Err(error) if !room && error.kind() == ErrorKind::Full => {}
        closed => closed.map_err(|error| format!("close: {error}"))?,
    }
    let op = Some(left.stats().evicted - before);
    pipe.say(Message {
        op,
        ..Message::ready()
    });
    Ok(())
}

struct Life<'a> {
    pipe: &'a Pipe,
    root: &'a Path,
    /// The cache has its own: they find no room either.
    threads: bool,
    oracle: Oracle,
    /// Keys whose newest insert was acknowledged.
    acknowledged: BTreeSet<Key>,
    op: Op,
}

impl<'a> Life<'a> {
    fn new(pipe: &'a Pipe, root: &'a Path, threads: bool) -> Self {
        Self {
            pipe,
            root,
            threads,
            oracle: Oracle::new(Keeps::WhatItLikes),
            acknowledged: BTreeSet::new(),
            op: 0,
        }
    }

    fn open(&self) -> Result<Cache, Error> {
        Cache::open(cache_on(self.root), options(self.threads))
    }

    fn fill(&self, leave: u64) -> Result<(), String> {
        disk::fill(self.root, leave).map_err(|why| format!("fill: {why}"))
    }

    fn make_room(&self) -> Result<(), String> {
        disk::make_room(self.root).map_err(|why| format!("make room: {why}"))
    }

    /// The cache on a disk that is full, or none, for it could not be opened.
    fn until_full(&mut self, when: When) -> Result<Option<Cache>, String> {
        match when {
            When::Creating(leave) => {
                self.fill(leave)?;
                self.open_and_be_refused(&[None, Some(ErrorKind::Full)])
            }
            When::Growing => self.grow().map(Some),
            When::Writing(leave) => {
                self.copy()?;
                self.fill(leave)?;
                let opened = self.open_and_be_refused(&[Some(ErrorKind::Full)])?;
                // Without that it may not get as far as to be refused.
                if opened.is_none() && leave > 0 {
                    return Err("the tail has its room, and the cache does not open".into());
                }
                Ok(opened)
            }
        }
    }

    /// Inserts until one is refused, or the oldest have made room for the newest. `durably`: what calls may answer then that
    /// acknowledge only what is durable.
    fn open_and_be_refused(
        &mut self,
        durably: &[Option<ErrorKind>],
    ) -> Result<Option<Cache>, String> {
        let cache = match self.open() {
            Err(error) if error.kind() == ErrorKind::Full => return Ok(None),
            opened => opened.map_err(|error| format!("open: {error}"))?,
        };
        let mut left = 8 * SEGMENT;
        while left > 0 && self.insert(&cache, false)? {
            left = left.saturating_sub(10_000);
        }
        if left > 0 || !durably.contains(&None) {
            self.is_read_only(&cache, durably)?;
        }
        Ok(Some(cache))
    }

    /// A cache that has its files goes on in them: it is as large as it can be, and nobody is refused.
    fn grow(&mut self) -> Result<Cache, String> {
        let dir = cache_on(self.root);
        let cache = self.open().map_err(|error| format!("open: {error}"))?;
        while cache.stats().file_bytes < BEFORE {
            self.must_insert(&cache)?;
        }
        self.fill(0)?;
        let before = bytes_in(&dir);
        for _ in 0..2 * KEYS {
            self.must_insert(&cache)?;
        }
        let durably = calls_that_wait_for_the_disk(&cache);
        if durably.iter().any(|(_, kind)| kind.is_some()) {
            return Err(format!("on a full disk: {durably:?}"));
        }
        let (after, evicted) = (bytes_in(&dir), cache.stats().evicted);
        if after > before || evicted == 0 || cache.health().state != HealthState::Healthy {
            let health = cache.health();
            return Err(format!(
                "{before} bytes became {after}, {evicted} evicted, {health}"
            ));
        }
        Ok(cache)
    }

    /// A cache in files that have no room but for what is written: so `cp` leaves them.
    fn copy(&mut self) -> Result<(), String> {
        let (dir, copy) = (cache_on(self.root), self.root.join("copy"));
        let cache = self.open().map_err(|error| format!("open: {error}"))?;
        for _ in 0..COPIED / 16_000 {
            self.must_insert(&cache)?;
        }
        cache.close().map_err(|error| format!("close: {error}"))?;
        let sparse = ["--archive", "--sparse=always", &text(&dir), &text(&copy)];
        disk::run(Command::new("cp").args(sparse))?;
        std::fs::remove_dir_all(&dir).unwrap();
        std::fs::rename(&copy, &dir).map_err(|error| error.to_string())
    }

    /// What every call answers while there is no room.
    fn is_read_only(&mut self, cache: &Cache, durably: &[Option<ErrorKind>]) -> Result<(), String> {
        let health = cache.health();
        let (state, cause) = (health.state, health.cause);
        if (state, cause) != (HealthState::ReadOnly, Some(HealthCause::NoSpace)) || !health.passes()
        {
            return Err(format!("refused, and {health}"));
        }
        self.look(cache, false)?;
        let fetched = cache.get_or_fetch("fetched", || Ok::<_, Infallible>(b"3".to_vec()));
        if fetched.as_deref().ok() != Some(b"3") {
            return Err(format!("fetched: {:?}", fetched.err()));
        }
        let answers = calls_that_wait_for_the_disk(cache);
        if !answers.iter().all(|(_, kind)| durably.contains(kind)) {
            return Err(format!("{answers:?} in place of {durably:?}"));
        }
        Ok(())
    }

    /// There is room, and the same cache uses it.
    fn is_served(&mut self, cache: &Cache) -> Result<(), String> {
        for _ in 0..4 * SEGMENT / 16_000 {
            self.must_insert(cache)?;
        }
        let durably = calls_that_wait_for_the_disk(cache);
        if durably.iter().any(|(_, kind)| kind.is_some()) {
            return Err(format!("there is room: {durably:?}"));
        }
        if cache.health().state != HealthState::Healthy {
            return Err(format!("there is room, and {}", cache.health()));
        }
        within_the_capacity(&cache_on(self.root))
    }

    fn must_insert(&mut self, cache: &Cache) -> Result<(), String> {
        match self.insert(cache, true)? {
            true => Ok(()),
            false => Err(format!("refused: {}", cache.health())),
        }
    }

    /// False: there was no room. One in two is durable, one in eight large.
    fn insert(&mut self, cache: &Cache, large: bool) -> Result<bool, String> {
        self.op += 1;
        let number = u16::try_from(self.op % KEYS).unwrap();
        let (key, op) = (Key { thread: 0, number }, self.op);
        let len = if large && op % 8 == 7 {
            100_000
        } else {
            10_000 + usize::try_from(op * 37 % 8_000).unwrap()
        };
        let bytes = key.bytes();
        let say = |kind| self.pipe.say(Message::new(kind, key, Some(op), 0));
        say(Kind::Begun);
        self.oracle.issued(&bytes, Some(op));
        let made = value(&bytes, op, len);
        let inserted = if op.is_multiple_of(2) {
            cache.insert(&bytes, made)
        } else {
            cache.insert_durable(&bytes, made)
        };
        match inserted {
            Ok(_) => {
                say(Kind::Returned);
                self.oracle.acknowledged(&bytes, false);
                self.acknowledged.insert(key);
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::Full => {
                say(Kind::Refused);
                self.acknowledged.remove(&key);
                Ok(false)
            }
            Err(error) => Err(format!("insert: {error}")),
        }
    }

    /// Asks for every key: what was acknowledged is there, or was evicted. `told`: says what there is.
    fn look(&mut self, cache: &Cache, told: bool) -> Result<(), String> {
        let mut missing = 0;
        for key in self.acknowledged.clone() {
            let bytes = key.bytes();
            let found = cache.get(&bytes).map_err(|error| format!("get: {error}"))?;
            self.oracle.check_running(&bytes, found.as_deref())?;
            missing += u64::from(found.is_none());
            if let Some(found) = found.filter(|_| told) {
                let op = identify(&bytes, &found)?;
                self.pipe
                    .say(Message::new(Kind::Found, key, Some(op), found.len()));
            }
        }
        let evicted = cache.stats().evicted;
        if missing > evicted {
            return Err(format!("{missing} are missing, {evicted} evicted"));
        }
        Ok(())
    }
}

/// What calls answer that say nothing before it is durable.
fn calls_that_wait_for_the_disk(cache: &Cache) -> Vec<(&'static str, Option<ErrorKind>)> {
    let kind = |done: Result<(), Error>| done.err().map(|error| error.kind());
    vec![
        (
            "insert_durable",
            kind(cache.insert_durable("durable", [2; 9_000]).map(drop)),
        ),
        ("remove_durable", kind(cache.remove_durable("durable"))),
        ("flush", kind(cache.flush())),
        ("checkpoint", kind(cache.checkpoint())),
    ]
}
