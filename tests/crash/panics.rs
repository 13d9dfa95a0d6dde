//! Closures that panic in a process that is killed afterwards: their keys are absent, nothing else is touched, and nobody
//! waits for them for ever.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use perennial::{Cache, Options, Value};
use perennial_failpoints::lab::{identify, value};

use crate::directory::{Scratch, text};
use crate::pipe::{Key, Kind, Message, Pipe};
use crate::process::{Child, give_up};
use crate::witness::Witness;
use crate::worker::{Style, Worker, first_op};
use crate::{Outcome, Settings};

const ROUNDS: u16 = 8;
const LIVES: u64 = 5;
/// Threads that fetch one key.
const FETCHERS: usize = 3;

fn options() -> Options {
    Options::new()
        .capacity_bytes(8 << 20)
        .segment_bytes(16 << 10)
        .tail_bytes(16 << 10)
        .checkpoint_every_bytes(64 << 10)
}

const STYLE: Style = Style {
    evicting: false,
    max_len: 8_000,
    plain: false,
    budget: 200 << 10,
};

pub(crate) fn scenario(settings: &Settings) -> Outcome {
    let scratch = Scratch::new();
    let mut witness = Witness::new(false);
    for life in 1..=LIVES {
        if let Err(why) = one_life(&scratch, &mut witness, life, settings.seed) {
            return Err(scratch.keep(&format!("seed {}, life {life}: {why}", settings.seed)));
        }
    }
    let panics = LIVES * u64::from(ROUNDS) * 3;
    Ok(format!("at least {panics} panics"))
}

fn one_life(scratch: &Scratch, witness: &mut Witness, life: u64, seed: u64) -> Result<(), String> {
    let dir = scratch.cache();
    let child = Child::start("panics", &[text(&dir), life.to_string(), seed.to_string()]);
    witness.hear_all(child.until_ready()?)?;
    witness.hear_all(child.kill()?)?;
    witness.died();
    let cache = Cache::open(&dir, options()).map_err(|e| e.to_string())?;
    witness.check(&cache)
}

pub(crate) fn child(pipe: &Pipe, arguments: &[String]) -> Result<(), String> {
    let [dir, life, seed] = arguments else {
        return Err("directory, life, seed".into());
    };
    let (life, seed) = (life.parse().unwrap(), seed.parse().unwrap());
    let cache = Cache::open(dir, options()).map_err(|e| e.to_string())?;
    std::panic::set_hook(Box::new(|panic| {
        if !panic.to_string().contains(MEANT) {
            give_up(&panic.to_string());
        }
    }));
    thread::scope(|scope| {
        for thread in 0..2 {
            let mut worker = Worker::new(&cache, pipe, thread, STYLE, life, seed);
            scope.spawn(move || {
                if let Err(why) = worker.look_around().and_then(|()| work(&mut worker)) {
                    give_up(&why);
                }
            });
        }
        if let Err(why) = panic_often(&cache, pipe, life) {
            give_up(&why);
        }
        pipe.say(Message::ready());
    });
    Ok(())
}

/// Works until the process is killed.
fn work(worker: &mut Worker<'_>) -> Result<(), String> {
    loop {
        worker.step()?;
    }
}

const MEANT: &str = "a panic that is meant";

fn panic_often(cache: &Cache, pipe: &Pipe, life: u64) -> Result<(), String> {
    let mut op = first_op(life, 2);
    for number in 0..ROUNDS {
        let key = |thread| Key { thread, number };
        // In the ring, and beyond it.
        let len = if number % 2 == 0 { 300 } else { 8_000 };
        op += 2;
        insert(cache, pipe, key(2), op, 100)?;
        panic_while_filling(cache, pipe, key(2), len)?;
        insert(cache, pipe, key(3), op + 1, 100)?;
        panic_while_fetching(cache, pipe, key(3), op + 1, number % 2 == 0)?;
    }
    Ok(())
}

fn say(pipe: &Pipe, kind: Kind, key: Key, op: Option<u64>) {
    pipe.say(Message::new(kind, key, op, 0));
}

fn insert(cache: &Cache, pipe: &Pipe, key: Key, op: u64, len: usize) -> Result<(), String> {
    say(pipe, Kind::Begun, key, Some(op));
    let bytes = key.bytes();
    // Durable: this thread can still wait for its own frames after it panicked in one.
    cache
        .insert_durable(&bytes, value(&bytes, op, len))
        .map_err(|e| e.to_string())?;
    say(pipe, Kind::Returned, key, Some(op));
    Ok(())
}

fn expect_absent(cache: &Cache, key: Key) -> Result<(), String> {
    match cache.get(key.bytes()).map_err(|e| e.to_string())? {
        None => Ok(()),
        Some(found) => Err(format!("{key:?}: {} bytes after a panic", found.len())),
    }
}

fn panic_while_filling(cache: &Cache, pipe: &Pipe, key: Key, len: usize) -> Result<(), String> {
    say(pipe, Kind::Begun, key, None);
    let filled = catch_unwind(AssertUnwindSafe(|| {
        cache.insert_with_len(key.bytes(), len, |half| -> Result<(), Infallible> {
            half[..len / 2].fill(9);
            panic!("{MEANT}");
        })
    }));
    if let Ok(filled) = filled {
        return Err(format!("the panic was swallowed: {filled:?}"));
    }
    say(pipe, Kind::Returned, key, None);
    expect_absent(cache, key)
}

/// Threads that fetch one removed key: the first one panics, or all do.
fn panic_while_fetching(
    cache: &Cache,
    pipe: &Pipe,
    key: Key,
    op: u64,
    all: bool,
) -> Result<(), String> {
    say(pipe, Kind::Begun, key, None);
    cache.remove(key.bytes()).map_err(|e| e.to_string())?;
    say(pipe, Kind::Returned, key, None);
    let after = (!all).then_some(op);
    say(pipe, Kind::Begun, key, after);
    let panicked = AtomicBool::new(false);
    let fetch = || {
        let bytes = key.bytes();
        cache.get_or_fetch(&bytes, || -> Result<Value, Infallible> {
            // Time for others to begin to wait.
            thread::yield_now();
            assert!(!all && panicked.swap(true, Ordering::SeqCst), "{MEANT}");
            Ok(value(&bytes, op, 200).into())
        })
    };
    let got: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..FETCHERS).map(|_| scope.spawn(fetch)).collect();
        threads.into_iter().filter_map(|t| t.join().ok()).collect()
    });
    let expected = if all { 0 } else { FETCHERS - 1 };
    if got.len() != expected {
        return Err(format!("{} of {FETCHERS} fetched", got.len()));
    }
    for value in got {
        let value = value.map_err(|e| e.to_string())?;
        if identify(&key.bytes(), &value)? != op {
            return Err(format!("{key:?}: another value was fetched"));
        }
    }
    say(pipe, Kind::Returned, key, after);
    if all {
        expect_absent(cache, key)
    } else {
        Ok(())
    }
}
