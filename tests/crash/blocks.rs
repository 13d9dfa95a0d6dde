//! SIGKILL in the middle of a scan over a slow origin: the next process fetches only what had not returned.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use perennial::blocks::{BlockCache, BlockOptions, Origin, OriginResult, ReadOptions, Version};
use perennial::{Cache, Options};

use crate::directory::{Scratch, text};
use crate::pipe::{Key, Kind, Message, Pipe};
use crate::process::Child;
use crate::random::Random;
use crate::{Outcome, Settings};

const OBJECTS: u8 = 4;
const BLOCKS: u16 = 256;
const BLOCK: u64 = 64 << 10;

/// Slow, where `slow` says so; counts the blocks that it gives.
#[derive(Default)]
struct Store {
    slow: bool,
    given: AtomicU64,
}

fn fill(object: &str, offset: u64, buf: &mut [u8]) {
    let seed = object
        .bytes()
        .fold(7, |seed: u64, byte| seed * 31 + u64::from(byte));
    for (at, piece) in (offset / 8..).zip(buf.chunks_mut(8)) {
        let word = (seed ^ at)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .to_le_bytes();
        piece.copy_from_slice(&word[..piece.len()]);
    }
}

impl Origin for Store {
    fn identity(&self) -> String {
        "store".into()
    }
    fn version(&self, _: &str) -> OriginResult<Version> {
        Ok("first".into())
    }
    fn len(&self, _: &str) -> OriginResult<u64> {
        Ok(u64::from(BLOCKS) * BLOCK)
    }
    fn read_at(
        &self,
        object: &str,
        _: &Version,
        offset: u64,
        buf: &mut [u8],
        _: &ReadOptions,
    ) -> OriginResult<usize> {
        if self.slow {
            thread::sleep(Duration::from_micros(500));
        }
        fill(object, offset, buf);
        self.given
            .fetch_add(buf.len() as u64 / BLOCK, Ordering::Relaxed);
        Ok(buf.len())
    }
}

fn open(dir: &Path, slow: bool, readahead: u64) -> Result<(BlockCache, Arc<Store>), String> {
    let options = Options::new()
        .capacity_bytes(512 << 20)
        .tail_bytes(16 << 20);
    let cache = Cache::open(dir, options).map_err(|e| e.to_string())?;
    let store = Arc::new(Store {
        slow,
        given: AtomicU64::new(0),
    });
    let options = BlockOptions::new().readahead_blocks(readahead);
    let blocks = BlockCache::new(cache, Arc::clone(&store), options).map_err(|e| e.to_string())?;
    Ok((blocks, store))
}

fn object(number: u8) -> String {
    format!("object {number}")
}

fn read(blocks: &BlockCache, key: Key) -> Result<(), String> {
    let object = object(key.thread);
    let mut buf = vec![0; usize::try_from(BLOCK).unwrap()];
    let offset = u64::from(key.number) * BLOCK;
    let read = blocks.read_at(&object, offset, &mut buf, &ReadOptions::new());
    read.map_err(|e| e.to_string())?;
    let mut expected = vec![0; buf.len()];
    fill(&object, offset, &mut expected);
    if buf == expected {
        Ok(())
    } else {
        Err(format!("{key:?}: wrong bytes"))
    }
}

/// Scans each object with a thread of its own, and says what has returned.
pub(crate) fn child(pipe: &Pipe, arguments: &[String]) -> Result<(), String> {
    let [dir] = arguments else {
        return Err("directory".into());
    };
    let (blocks, _) = open(Path::new(dir), true, 8)?;
    pipe.say(Message::ready());
    thread::scope(|s| {
        let scan = |thread| {
            let blocks = &blocks;
            s.spawn(move || {
                (0..BLOCKS).try_for_each(|number| {
                    let key = Key { thread, number };
                    read(blocks, key)?;
                    pipe.say(Message::new(Kind::Returned, key, None, 0));
                    Ok(())
                })
            })
        };
        let scans: Vec<_> = (0..OBJECTS).map(scan).collect();
        let ended = scans.into_iter().map(|scan| scan.join().unwrap());
        ended.collect::<Result<Vec<()>, String>>().map(drop)
    })?;
    // Until it is killed.
    loop {
        thread::sleep(Duration::from_secs(1));
    }
}

pub(crate) fn scenario(settings: &Settings) -> Outcome {
    let mut random = Random::new(settings.seed);
    let (mut returned, mut fetched) = (0, 0);
    for life in 0..settings.lives.div_ceil(20) {
        let scratch = Scratch::new();
        let dir = scratch.cache();
        let killed = killed_once(&dir, random.below(400));
        let (had, again) = killed.map_err(|why| scratch.keep(&format!("life {life}: {why}")))?;
        returned += had;
        fetched += again;
    }
    let what = format!("{returned} blocks had returned, {fetched} of them were fetched again");
    if returned > 100 && fetched * 100 <= returned {
        Ok(what)
    } else {
        Err(what)
    }
}

/// How many blocks had returned, and how many of these the next process has to fetch.
fn killed_once(dir: &Path, after_ms: u64) -> Result<(u64, u64), String> {
    let child = Child::start("scan", &[text(dir)]);
    child.until_ready()?;
    thread::sleep(Duration::from_millis(after_ms));
    let returned = child.kill()?;
    let (blocks, store) = open(dir, false, 0)?;
    for message in &returned {
        read(&blocks, message.key)?;
    }
    let again = store.given.load(Ordering::Relaxed);
    // The scan goes on from here, and each block of it comes once.
    for thread in 0..OBJECTS {
        (0..BLOCKS).try_for_each(|number| read(&blocks, Key { thread, number }))?;
    }
    let rest = u64::from(OBJECTS) * u64::from(BLOCKS) - returned.len() as u64 + again;
    if store.given.load(Ordering::Relaxed) > rest {
        return Err("blocks were fetched twice".into());
    }
    Ok((returned.len() as u64, again))
}
