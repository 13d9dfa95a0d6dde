//! Blocks of objects in the lab: what a crash leaves of them is of that object, place, version and origin, and what was
//! invalidated stays away.

mod hunt;
mod origin;

use std::sync::Arc;

use perennial::Cache;
use perennial::blocks::{BlockCache, BlockOptions, ReadOptions, Revalidate};
use perennial_failpoints::Fs;
use perennial_failpoints::lab::{Driver, Keeps, Step, Store};

use crate::driver::{Open, Perennial, Undamaged, small};
use crate::random::{self, Rng, seeds};
use crate::{Case, effort, run_all};
pub(crate) use hunt::all as hunt;
use origin::{Named, Objects, check_entries};

/// What is put is as long as this: two blocks and some.
const LEN: u16 = 10_000;
const BLOCK: u64 = 4 << 10;

/// Blocks fit in its segments. No work is anybody else's.
fn options(capacity_bytes: u64) -> perennial::Options {
    small(capacity_bytes)
        .segment_bytes(16 << 10)
        .tail_bytes(16 << 10)
        .checkpoint_every_bytes(64 << 10)
}

fn face(
    cache: &Cache,
    origin: impl perennial::blocks::Origin + 'static,
) -> Result<BlockCache, String> {
    face_with(cache, origin, false)
}

fn face_with(
    cache: &Cache,
    origin: impl perennial::blocks::Origin + 'static,
    remember_heads: bool,
) -> Result<BlockCache, String> {
    let options = BlockOptions::new()
        .block_bytes(BLOCK)
        .fetch_threads(0)
        .remember_heads(remember_heads);
    BlockCache::new(cache.clone(), origin, options).map_err(|e| e.to_string())
}

/// A put is an object that has become another one without a new version: it is invalidated and read. A get reads it while
/// the origin is away, so what comes is the cache's alone. The oracle of single entries judges whole objects so.
struct ByInvalidating(Undamaged);

struct Objectwise {
    open: Open,
    named: Arc<Named>,
    blocks: BlockCache,
    /// Other objects, with versions, of two origins; heads of the second are remembered.
    versioned: [(Arc<Objects>, BlockCache); 2],
}

impl Driver for ByInvalidating {
    type Store = Objectwise;

    fn open(&self, fs: Arc<dyn Fs>) -> Result<Objectwise, String> {
        let open = self.0.open(fs)?;
        check_entries(&open.0)?;
        let named = Arc::new(Named::default());
        let blocks = face(&open.0, Arc::clone(&named))?;
        let versioned = |identity| -> Result<_, String> {
            let objects = Arc::new(Objects::new(identity));
            let blocks = face_with(&open.0, Arc::clone(&objects), identity == "b")?;
            Ok((objects, blocks))
        };
        let versioned = [versioned("a")?, versioned("b")?];
        Ok(Objectwise {
            open,
            named,
            blocks,
            versioned,
        })
    }
}

/// An object is full of its value, again and again, so that each block tells of which it is.
fn tiled(value: &[u8]) -> Vec<u8> {
    value.iter().copied().cycle().take(LEN.into()).collect()
}

fn name(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}

impl Store for Objectwise {
    fn put(&self, key: &[u8], value: &[u8], durable: bool) -> Result<(), String> {
        let object = name(key);
        let content = tiled(value);
        self.named.set(&object, &content);
        self.blocks.invalidate(&object).map_err(|e| e.to_string())?;
        let all = 0..u64::from(LEN);
        let read = self.blocks.read(&object, all, &ReadOptions::new());
        let same = read.map_err(|e| e.to_string())? == content;
        self.named.forget(&object);
        if durable {
            self.flush()?;
        }
        if same {
            Ok(())
        } else {
            Err(format!("{object} is read as another"))
        }
    }

    fn remove(&self, key: &[u8], durable: bool) -> Result<(), String> {
        let removed = self.blocks.invalidate(&name(key));
        removed.map_err(|e| e.to_string())?;
        if durable { self.flush() } else { Ok(()) }
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let all = 0..u64::from(LEN);
        let Ok(found) = self.blocks.read(&name(key), all, &ReadOptions::new()) else {
            return Ok(None);
        };
        let len = u64::from_le_bytes(found[8..16].try_into().expect("eight bytes"));
        let value = usize::try_from(len).ok().and_then(|len| found.get(..len));
        match value {
            Some(value) if tiled(value) == found => Ok(Some(value.to_vec())),
            _ => Err("an object of several versions, or of none".into()),
        }
    }

    fn flush(&self) -> Result<(), String> {
        self.open.flush()
    }

    /// A read of one of the versioned objects, which may have changed: `what` says of which and how.
    fn other(&self, what: u8) -> Result<(), String> {
        let mut rng = Rng(u64::from(what));
        let (objects, blocks) = &self.versioned[usize::from(what) % 2];
        let object = format!("object {}", what / 2 % 3);
        objects.set_version(u64::from(what) / 6 % 4);
        let always = ReadOptions::new().revalidate(Revalidate::Always);
        // Where nothing is known, the first bytes come with the head.
        let first = blocks
            .read(&object, 0..100, &always)
            .map_err(|e| e.to_string())?;
        if first != objects.bytes(&object, 0..100) {
            return Err(format!("{object}: wrong bytes at its begin"));
        }
        let head = blocks.head(&object, &always).map_err(|e| e.to_string())?;
        let offset = rng.below(head.len);
        let range = offset..offset + rng.below(head.len - offset + 1);
        let read = blocks.read(&object, range.clone(), &always);
        let expected = objects.bytes(&object, range.clone());
        if read.map_err(|e| e.to_string())? != expected {
            return Err(format!("{object}: wrong bytes in {range:?}"));
        }
        check_entries(&self.open.0)
    }

    fn close(self) -> Result<(), String> {
        drop((self.blocks, self.versioned));
        self.open.close()
    }
}

fn step(rng: &mut Rng) -> Step {
    let key = u8::try_from(rng.below(3)).expect("few keys");
    match rng.below(12) {
        0..=3 => Step::put(key, LEN),
        4 => Step::put(key, LEN).durable(),
        5 => Step::remove(key),
        6 => Step::Flush,
        7 => Step::Get { key },
        8 => Step::Reopen,
        _ => Step::Other(u8::try_from(rng.below(256)).expect("a byte")),
    }
}

fn scripts(seeds: u64, steps: u64) -> Vec<Case> {
    let script = |seed| {
        let mut rng = Rng(seed);
        (0..steps).map(|_| step(&mut rng)).collect()
    };
    let whole = |seed| Case {
        script: script(seed),
        from: 0,
    };
    (0..seeds).map(whole).collect()
}

fn driver(capacity_bytes: u64) -> ByInvalidating {
    ByInvalidating(Undamaged(Perennial(options(capacity_bytes))))
}

/// In the middle of a put nothing is there, so that absence is allowed where all fits, too.
#[test]
fn blocks_that_fit() {
    let cases = scripts(8 * effort(), 14);
    let title = format!("blocks, {}", seeds(&cases));
    run_all(
        &title,
        &driver(1 << 20),
        random::options(Keeps::WhatItLikes),
        &cases,
    );
}

#[test]
fn blocks_that_are_evicted() {
    let cases = scripts(4 * effort(), 36);
    let title = format!("blocks, evicting, {}", seeds(&cases));
    run_all(
        &title,
        &driver(192 << 10),
        random::options(Keeps::WhatItLikes),
        &cases,
    );
}

#[test]
fn every_promise_of_blocks_holds() {
    hunt().expect("blocks are as promised");
}
