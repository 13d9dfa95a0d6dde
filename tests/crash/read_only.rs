//! A cache that is read by one process while another writes it, and after SIGKILL: what is shown is no older than what a flush
//! had made durable before, what the killed process left is all there, and no file changes for it.

use std::path::Path;
use std::thread;
use std::time::Duration;

use perennial::{Cache, ErrorKind, Options};
use perennial_failpoints::lab::{identify, value};

use crate::directory::{Scratch, files_in, text};
use crate::pipe::{Key, Message, Pipe};
use crate::process::Child;
use crate::random::Random;
use crate::{Outcome, Settings};

const KEYS: u16 = 40;
/// One child in so many of the lives of `kill_loop`.
const SHARE: u32 = 10;
/// Looks at a cache that is being written.
const LOOKS: u64 = 8;
/// From one look to the next at most, in microseconds.
const PAUSE_US: u64 = 3_000;

fn options() -> Options {
    Options::new()
        .capacity_bytes(512 << 10)
        .segment_bytes(16 << 10)
        .tail_bytes(16 << 10)
        .checkpoint_every_bytes(32 << 10)
}

fn key(number: u16) -> Key {
    Key { thread: 0, number }
}

pub(crate) fn scenario(settings: &Settings) -> Outcome {
    let (mut found, mut left) = (0, 0);
    let lives = settings.lives.div_ceil(SHARE);
    for life in 0..lives {
        let scratch = Scratch::new();
        let seed = settings.seed ^ u64::from(life) << 32;
        let (live, dead) = one_life(&scratch.cache(), seed)
            .map_err(|why| scratch.keep(&format!("seed {seed}: {why}")))?;
        found += live;
        left += dead;
    }
    if found == 0 || left == 0 {
        return Err(format!(
            "{lives} lives, and {found} and {left} entries were seen"
        ));
    }
    Ok(format!(
        "{lives} lives, {found} entries read beside them, {left} that they left"
    ))
}

fn one_life(dir: &Path, seed: u64) -> Result<(u64, u64), String> {
    let child = Child::start("read_only", &[text(dir), seed.to_string()]);
    child.until_ready()?;
    let mut random = Random::new(seed);
    let mut found = 0;
    for _ in 0..LOOKS {
        thread::sleep(Duration::from_micros(random.below(PAUSE_US)));
        found += look(dir)?;
    }
    child.kill()?;
    Ok((found, look_at_the_dead(dir)?))
}

/// Values that their keys once had, none of them torn, and the operations of all are one beginning of what the child did: what it
/// stores of each round under all keys is of that round or of the one before.
fn look(dir: &Path) -> Result<u64, String> {
    let snapshot = match Cache::open_read_only(dir) {
        Ok(snapshot) => snapshot,
        Err(error) if error.kind() == ErrorKind::Busy => return Ok(0),
        Err(error) => return Err(error.to_string()),
    };
    let mut ops = Vec::new();
    for number in 0..KEYS {
        let key = key(number).bytes();
        let Some(found) = snapshot.get(&key).map_err(|e| e.to_string())? else {
            continue;
        };
        let op = identify(&key, &found)?;
        if op % u64::from(KEYS) != u64::from(number) {
            return Err(format!("operation {op} under key {number}"));
        }
        ops.push(op);
    }
    let (oldest, newest) = (ops.iter().min(), ops.iter().max());
    if let (Some(oldest), Some(newest)) = (oldest, newest)
        && newest - oldest >= u64::from(KEYS)
    {
        return Err(format!("operations {oldest} and {newest} at one moment"));
    }
    Ok(ops.len() as u64)
}

/// Every entry that an open finds, and none that it does not, though no byte of the directory changes.
fn look_at_the_dead(dir: &Path) -> Result<u64, String> {
    let before = picture(dir);
    let snapshot = Cache::open_read_only(dir).map_err(|e| e.to_string())?;
    let all: Result<Vec<_>, _> = (0..KEYS).map(|n| snapshot.get(key(n).bytes())).collect();
    let all = all.map_err(|e| e.to_string())?;
    if picture(dir) != before {
        return Err("a read-only open changed the directory".into());
    }
    let cache = Cache::open(dir, options()).map_err(|e| e.to_string())?;
    for (number, found) in (0..KEYS).zip(&all) {
        let opened = cache.get(key(number).bytes()).map_err(|e| e.to_string())?;
        // An open makes room for the next segment.
        let evicted = opened.is_none() && cache.stats().evicted > 0;
        if opened != *found && !evicted {
            return Err(format!(
                "key {number}: read-only {found:?}, opened {opened:?}"
            ));
        }
    }
    cache.close().map_err(|e| e.to_string())?;
    Ok(all.iter().flatten().count() as u64)
}

/// Names and contents.
fn picture(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut names = files_in(dir);
    names.sort();
    let content = |name: String| {
        let content = std::fs::read(dir.join(&name)).unwrap();
        (name, content)
    };
    names.into_iter().map(content).collect()
}

/// All keys in turn, again and again: an operation's number says which key it is of.
pub(crate) fn child(pipe: &Pipe, arguments: &[String]) -> Result<(), String> {
    let [dir, seed] = arguments else {
        return Err("directory, seed".into());
    };
    let mut random = Random::new(seed.parse().unwrap());
    let cache = Cache::open(dir, options()).map_err(|e| e.to_string())?;
    pipe.say(Message::ready());
    for op in 1_u64.. {
        let number = u16::try_from(op % u64::from(KEYS)).unwrap();
        let bytes = key(number).bytes();
        let done = if random.one_in(9) {
            cache.remove(&bytes)
        } else {
            let len = usize::try_from(random.below(3_000)).unwrap();
            cache.insert(&bytes, value(&bytes, op, len)).map(drop)
        };
        done.map_err(|e| e.to_string())?;
        if random.one_in(60) {
            cache.flush().map_err(|e| e.to_string())?;
        }
    }
    Ok(())
}
