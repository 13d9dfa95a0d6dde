//! An origin whose every byte is known, that counts what it gives, and misbehaves as it is told.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use perennial::blocks::{
    Head, Opened, Origin, OriginError, OriginResult, Priority, ReadOptions, Version,
};

use crate::BLOCK;

/// A small generator: the tests need repeatable variety, not quality.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        mix(&mut self.0) % n.max(1)
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

fn mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// What the origin `identity` has at `offset` of an object's version.
pub(crate) fn content(identity: &str, object: &str, version: u64, offset: u64, buf: &mut [u8]) {
    let mut seed = version;
    for byte in identity.bytes().chain([0]).chain(object.bytes()) {
        seed = mix(&mut (seed ^ u64::from(byte)));
    }
    for (at, byte) in (offset..).zip(buf) {
        let word = mix(&mut (seed ^ (at / 8))).to_le_bytes();
        *byte = word[usize::try_from(at % 8).unwrap()];
    }
}

/// How it misbehaves, each in one of so many calls; 0 = never.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    pub(crate) fails: u64,
    pub(crate) panics: u64,
    pub(crate) short: u64,
    pub(crate) slow: u64,
    /// It asks conditionally, and says so.
    pub(crate) checks_version: bool,
}

/// One read of the origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) object: String,
    pub(crate) range: Range<u64>,
    pub(crate) priority: Priority,
}

/// Reads wait here.
#[derive(Default)]
struct Gate {
    state: Mutex<Bar>,
    moved: Condvar,
}

#[derive(Default)]
struct Bar {
    /// So many more reads will wait.
    stops: u64,
    /// Times that those who waited were let go.
    opened: u64,
}

pub(crate) struct Source {
    identity: String,
    pub(crate) faults: Mutex<Faults>,
    /// By object; what is not in it has version 1.
    versions: Mutex<HashMap<String, u64>>,
    len: u64,
    pub(crate) calls: Mutex<Vec<Call>>,
    /// Whole blocks that it gave, by object, version and number.
    given: Mutex<HashMap<(String, u64, u64), u64>>,
    rng: Mutex<Rng>,
    gate: Gate,
    waiting: AtomicU64,
    /// Questions for version and length alone, and those that may be answered with bytes.
    pub(crate) heads: AtomicU64,
    pub(crate) opens: AtomicU64,
}

impl Source {
    /// All objects have `len` bytes, and 37 more for each version.
    pub(crate) fn new(len: u64) -> Self {
        Self::named("source", len)
    }

    pub(crate) fn named(identity: &str, len: u64) -> Self {
        Self {
            identity: identity.to_owned(),
            faults: Mutex::default(),
            versions: Mutex::default(),
            len,
            calls: Mutex::default(),
            given: Mutex::default(),
            rng: Mutex::new(Rng(1)),
            gate: Gate::default(),
            waiting: AtomicU64::new(0),
            heads: AtomicU64::new(0),
            opens: AtomicU64::new(0),
        }
    }

    pub(crate) fn version_of(&self, object: &str) -> u64 {
        *self.versions.lock().unwrap().get(object).unwrap_or(&1)
    }

    /// The object's next version.
    pub(crate) fn change(&self, object: &str) {
        *self
            .versions
            .lock()
            .unwrap()
            .entry(object.to_owned())
            .or_insert(1) += 1;
    }

    pub(crate) fn len_at(&self, version: u64) -> u64 {
        self.len + 37 * (version - 1)
    }

    /// What it has of a version.
    pub(crate) fn bytes(&self, object: &str, version: u64, range: Range<u64>) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap()];
        content(&self.identity, object, version, range.start, &mut bytes);
        bytes
    }

    /// Reads wait until it is opened.
    pub(crate) fn close_gate(&self) {
        self.stop_next(u64::MAX);
    }

    /// The next so many reads wait until it is opened; others pass.
    pub(crate) fn stop_next(&self, reads: u64) {
        self.gate.state.lock().unwrap().stops = reads;
    }

    pub(crate) fn open_gate(&self) {
        let mut bar = self.gate.state.lock().unwrap();
        (bar.stops, bar.opened) = (0, bar.opened + 1);
        self.gate.moved.notify_all();
    }

    /// Returns once so many reads stand before the gate.
    pub(crate) fn until_waiting(&self, reads: u64) {
        until(|| self.waiting.load(Ordering::SeqCst) >= reads);
    }

    pub(crate) fn reads(&self) -> usize {
        self.calls.lock().unwrap().len()
    }

    pub(crate) fn ranges(&self) -> Vec<Range<u64>> {
        let calls = self.calls.lock().unwrap();
        calls.iter().map(|call| call.range.clone()).collect()
    }

    /// Blocks that were given again, for each time.
    pub(crate) fn given_again(&self) -> u64 {
        self.given.lock().unwrap().values().map(|n| n - 1).sum()
    }

    /// Counts the blocks that are whole between these two.
    fn gave(&self, object: &str, version: u64, offset: u64, reached: u64) {
        let len = self.len_at(version);
        let mut given = self.given.lock().unwrap();
        for block in offset / BLOCK..reached.div_ceil(BLOCK) {
            if reached >= ((block + 1) * BLOCK).min(len) {
                *given
                    .entry((object.to_owned(), version, block))
                    .or_default() += 1;
            }
        }
    }

    fn pass(&self) {
        let mut bar = self.gate.state.lock().unwrap();
        if bar.stops == 0 {
            return;
        }
        bar.stops -= 1;
        let opened = bar.opened;
        self.waiting.fetch_add(1, Ordering::SeqCst);
        while bar.opened == opened {
            bar = self.gate.moved.wait(bar).unwrap();
        }
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }

    fn one_in(&self, n: u64) -> bool {
        n > 0 && self.rng.lock().unwrap().one_in(n)
    }
}

impl Origin for Source {
    fn identity(&self) -> String {
        self.identity.clone()
    }

    fn version(&self, object: &str) -> OriginResult<Version> {
        Ok(self.version_of(object).into())
    }

    fn len(&self, object: &str) -> OriginResult<u64> {
        Ok(self.len_at(self.version_of(object)))
    }

    fn head(&self, object: &str) -> OriginResult<Head> {
        self.heads.fetch_add(1, Ordering::SeqCst);
        if self.one_in(self.faults.lock().unwrap().fails * 8) {
            return Err("it does not say".into());
        }
        let version = self.version_of(object);
        Ok(Head::new(version, self.len_at(version)).about(object.as_bytes().to_vec()))
    }

    fn open_at(
        &self,
        object: &str,
        range: Range<u64>,
        options: &ReadOptions,
    ) -> OriginResult<Opened> {
        self.opens.fetch_add(1, Ordering::SeqCst);
        assert!(options.cancel.is_none(), "others may wait for it");
        self.pass();
        let faults = *self.faults.lock().unwrap();
        if self.one_in(faults.slow) {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(!self.one_in(faults.panics), "the origin panics: meant so");
        if self.one_in(faults.fails) {
            return Err("it fails".into());
        }
        let version = self.version_of(object);
        let len = self.len_at(version);
        let mut end = range.end.min(len).max(range.start);
        if self.one_in(faults.short) {
            end = range.start + self.rng.lock().unwrap().below(end - range.start);
        }
        let bytes = self.bytes(object, version, range.start..end);
        if version != self.version_of(object) {
            return Err(OriginError::Changed);
        }
        self.gave(object, version, range.start, end);
        let head = Head::new(version, len).about(object.as_bytes().to_vec());
        Ok(Opened::new(head, range.start, bytes))
    }

    fn checks_version(&self) -> bool {
        self.faults.lock().unwrap().checks_version
    }

    fn read_at(
        &self,
        object: &str,
        version: &Version,
        offset: u64,
        buf: &mut [u8],
        options: &ReadOptions,
    ) -> OriginResult<usize> {
        let end = offset + buf.len() as u64;
        self.calls.lock().unwrap().push(Call {
            object: object.to_owned(),
            range: offset..end,
            priority: options.priority,
        });
        assert!(options.cancel.is_none(), "others may wait for it");
        self.pass();
        let faults = *self.faults.lock().unwrap();
        if self.one_in(faults.slow) {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(!self.one_in(faults.panics), "the origin panics: meant so");
        if self.one_in(faults.fails) {
            return Err("it fails".into());
        }
        // Piece by piece: of an object that changes meanwhile it gives some of both.
        let before = self.version_of(object);
        for (at, piece) in (offset..).step_by(1024).zip(buf.chunks_mut(1024)) {
            content(&self.identity, object, self.version_of(object), at, piece);
        }
        let after = self.version_of(object);
        if faults.checks_version && (*version != before.into() || before != after) {
            return Err(OriginError::Changed);
        }
        let mut read = usize::try_from(self.len_at(after).saturating_sub(offset)).unwrap();
        read = read.min(buf.len());
        if self.one_in(faults.short) {
            read = usize::try_from(self.rng.lock().unwrap().below(read as u64)).unwrap();
        }
        // What is believed, that is; what it gives of another version is not.
        if before == after && *version == before.into() {
            self.gave(object, after, offset, (offset + read as u64).min(end));
        }
        Ok(read)
    }
}

/// Waits for what other threads will do, for at most half a minute.
pub(crate) fn until(mut done: impl FnMut() -> bool) {
    for _ in 0..30_000 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("it never comes");
}
