//! SIGKILL at every single call to the operating system: of the first open, and of a recovery.

use std::path::Path;
use std::sync::Arc;
use std::thread;

use perennial::{Cache, Options};
use perennial_failpoints::{FaultFs, Plan, StdFs};

use crate::directory::{Scratch, bytes_in, copy, files_in, text};
use crate::pipe::{Key, Kind, Message, Pipe};
use crate::process::{Child, End, give_up};
use crate::random::Random;
use crate::witness::Witness;
use crate::worker::{Style, Worker, first_op};
use crate::{Outcome, Settings};

const CAPACITY: u64 = 256 << 10;
const SEGMENT: u64 = 8 << 10;
/// A run of calls that never ends is a bug of its own.
const MOST_CALLS: u64 = 20_000;

/// How a directory is opened, by name so that a child can be told.
const VARIANTS: &[&str] = &[
    "plain",
    "threads",
    "smaller tail",
    "larger tail",
    "tail elsewhere",
];

pub(crate) fn options(variant: &str, dir: &Path) -> Options {
    let options = Options::new()
        .capacity_bytes(CAPACITY)
        .segment_bytes(SEGMENT)
        .tail_bytes(16 << 10)
        .checkpoint_every_bytes(32 << 10)
        .background(variant == "threads");
    match variant {
        "smaller tail" => options.tail_bytes(8 << 10),
        "larger tail" => options.tail_bytes(24 << 10),
        "tail elsewhere" => options.tail_dir(dir.with_file_name("tails")),
        _ => options,
    }
}

pub(crate) fn style(evicting: bool) -> Style {
    Style {
        evicting,
        max_len: 4_000,
        plain: false,
        budget: if evicting { 600 << 10 } else { 60 << 10 },
    }
}

pub(crate) fn plan(when: &str, n: u64) -> Plan {
    match when {
        "before" => Plan::kill_before(n),
        _ => Plan::kill_after(n),
    }
}

/// Runs `one` with a kill at call 1, 2, ... until it ends by itself. Returns the number of kills.
pub(crate) fn at_every_call(
    when: &str,
    mut one: impl FnMut(u64) -> Result<End, String>,
) -> Result<u64, String> {
    for n in 1..MOST_CALLS {
        let ended = one(n).map_err(|why| format!("killed {when} call {n}: {why}"))?;
        if ended == End::Done {
            return Ok(n - 1);
        }
    }
    Err("it never ends".into())
}

/// Runs jobs side by side, since all of them mostly wait for the disk, once with kills before calls and once after.
/// Returns the number of kills.
pub(crate) fn side_by_side<J: Sync>(
    jobs: &[J],
    run: impl Fn(&J, &'static str) -> Result<u64, String> + Sync,
) -> Result<u64, String> {
    let run = &run;
    thread::scope(|scope| {
        let both = |job| ["before", "after"].map(|when| scope.spawn(move || run(job, when)));
        let running: Vec<_> = jobs.iter().flat_map(both).collect();
        // All of them end before the first failure is told: each has children.
        let ended: Vec<_> = running.into_iter().map(|job| job.join().unwrap()).collect();
        ended.into_iter().sum()
    })
}

/// Opens a directory under a plan that kills.
fn open_until_killed(dir: &Path, variant: &str, when: &str, n: u64) -> Result<End, String> {
    let arguments = [text(dir), variant.into(), when.into(), n.to_string()];
    let (_, end) = Child::start("open", &arguments).wait()?;
    check_bytes(dir)?;
    Ok(end)
}

pub(crate) fn open_child(_: &Pipe, arguments: &[String]) -> Result<(), String> {
    let [dir, variant, when, n] = arguments else {
        return Err("directory, variant, when, n".into());
    };
    let fs = FaultFs::new(Arc::new(StdFs), plan(when, n.parse().unwrap()));
    let options = options(variant, Path::new(dir));
    let opened = Cache::open_with(Arc::new(fs), dir, options);
    std::mem::forget(opened.map_err(|e| e.to_string())?);
    // The process ends here, and the cache is not closed.
    Ok(())
}

fn check_bytes(dir: &Path) -> Result<(), String> {
    let (bytes, most) = (bytes_in(dir), CAPACITY + SEGMENT);
    if bytes > most {
        return Err(format!("{bytes} bytes on disk, at most {most}"));
    }
    Ok(())
}

/// Nothing that killed opens left may stay: one identity, one lock, one tail, and segments.
fn check_names(dir: &Path, variant: &str) -> Result<(), String> {
    let names = files_in(dir);
    let others = names.iter().filter(|name| !name.starts_with("seg-"));
    let expected = if variant == "tail elsewhere" { 2 } else { 3 };
    if others.count() == expected {
        Ok(())
    } else {
        Err(format!("stray files: {names:?}"))
    }
}

pub(crate) fn open(dir: &Path, variant: &str) -> Result<Cache, String> {
    let cache = Cache::open(dir, options(variant, dir)).map_err(|e| format!("open: {e}"))?;
    check_bytes(dir)?;
    check_names(dir, variant)?;
    Ok(cache)
}

pub(crate) fn first_open(_: &Settings) -> Outcome {
    let variants = ["plain", "threads", "tail elsewhere"];
    let kills = side_by_side(&variants, |variant, when| {
        let one = |n| {
            let scratch = Scratch::new();
            let killed = first_open_once(&scratch.cache(), variant, when, n);
            killed.map_err(|why| scratch.keep(&why))
        };
        at_every_call(when, one).map_err(|why| format!("{variant}: {why}"))
    })?;
    Ok(format!("{kills} kills"))
}

fn first_open_once(dir: &Path, variant: &str, when: &str, n: u64) -> Result<End, String> {
    let end = open_until_killed(dir, variant, when, n)?;
    let cache = open(dir, variant)?;
    if cache.stats().entries > 0 {
        return Err("a new cache is not empty".into());
    }
    cache.insert("key", "value").map_err(|e| e.to_string())?;
    cache.close().map_err(|e| e.to_string())?;
    let found = open(dir, variant)?.get("key").map_err(|e| e.to_string())?;
    if found.as_deref() == Some(b"value") {
        Ok(end)
    } else {
        Err(format!("found {found:?}"))
    }
}

pub(crate) fn reopen(settings: &Settings) -> Outcome {
    let jobs: Vec<_> = [false, true]
        .into_iter()
        .flat_map(|evicting| VARIANTS.iter().map(move |variant| (evicting, *variant)))
        .collect();
    let kills = side_by_side(&jobs, |(evicting, variant), when| {
        let ended = reopen_at_every_call(*evicting, variant, when, settings.seed);
        let seed = settings.seed;
        ended.map_err(|why| format!("seed {seed}, {variant}, evicting {evicting}: {why}"))
    })?;
    Ok(format!("{kills} kills, half of them twice"))
}

fn reopen_at_every_call(
    evicting: bool,
    variant: &str,
    when: &str,
    seed: u64,
) -> Result<u64, String> {
    let scratch = Scratch::new();
    let witness = prepare(&scratch.cache(), evicting, seed)?;
    let mut random = Random::new(seed);
    let one = |n| {
        let copied = Scratch::new();
        copy(&scratch.cache(), &copied.cache());
        let again = random.one_in(2).then(|| random.below(n + 1) + 1);
        let opened = reopen_once(&copied.cache(), variant, (when, n), again, &witness);
        opened.map_err(|why| copied.keep(&format!("again at {again:?}: {why}")))
    };
    let kills = at_every_call(when, one);
    kills.map_err(|why| scratch.keep(&why))
}

/// A directory as a killed process left it: unsynced inserts, removed keys, several segments, a hole.
fn prepare(dir: &Path, evicting: bool, seed: u64) -> Result<Witness, String> {
    let arguments = [text(dir), evicting.to_string(), seed.to_string()];
    let child = Child::start("prepare", &arguments);
    let mut witness = Witness::new(evicting);
    witness.hear_all(child.until_ready()?)?;
    witness.hear_all(child.kill()?)?;
    witness.died();
    if witness.returned < 100 || witness.interrupted == 0 {
        return Err("too little was prepared".into());
    }
    Ok(witness)
}

pub(crate) fn prepare_child(pipe: &Pipe, arguments: &[String]) -> Result<(), String> {
    let [dir, evicting, seed] = arguments else {
        return Err("directory, evicting, seed".into());
    };
    let (evicting, seed) = (evicting.parse().unwrap(), seed.parse().unwrap());
    let options = options("threads", Path::new(dir));
    let cache = Cache::open(dir, options).map_err(|e| e.to_string())?;
    thread::scope(|scope| {
        for thread in 0..3 {
            let mut worker = Worker::new(&cache, pipe, thread, style(evicting), 1, seed);
            scope.spawn(move || {
                if let Err(why) = (0..400).try_for_each(|_| worker.step()) {
                    give_up(&why);
                }
            });
        }
    });
    leave_a_hole(&cache, pipe, seed)
}

/// One insert never returns; others behind it do.
fn leave_a_hole(cache: &Cache, pipe: &Pipe, seed: u64) -> Result<(), String> {
    cache.flush().map_err(|e| e.to_string())?;
    let mut worker = Worker::new(cache, pipe, 0, style(false), 2, seed);
    let stuck = Key {
        thread: 3,
        number: 0,
    };
    worker.insert(stuck, 100)?;
    let op = first_op(2, 3);
    pipe.say(Message::new(Kind::Begun, stuck, Some(op), 0));
    let filled = cache.insert_with_len(stuck.bytes(), 200, |half| {
        half[..100].fill(7);
        let one = |number| {
            let key = Key { thread: 0, number };
            worker.insert(key, 150)?;
            if number % 3 == 0 {
                worker.remove(key)?;
            }
            Ok::<(), String>(())
        };
        // Where the log needs room, this closure may not wait for it: then fewer lie behind the hole.
        let _ = (0..8).try_for_each(one);
        pipe.say(Message::ready());
        loop {
            thread::park();
        }
        #[expect(unreachable_code, reason = "the closure's result needs a type")]
        Ok::<(), String>(())
    });
    Err(format!("the parked insert returned: {filled:?}"))
}

fn reopen_once(
    dir: &Path,
    variant: &str,
    (when, n): (&str, u64),
    again: Option<u64>,
    witness: &Witness,
) -> Result<End, String> {
    let end = open_until_killed(dir, variant, when, n)?;
    if let Some(n) = again {
        open_until_killed(dir, variant, "after", n)?;
    }
    let mut witness = witness.clone();
    let cache = open(dir, variant)?;
    witness.check(&cache)?;
    cache.close().map_err(|e| e.to_string())?;
    witness.check(&open(dir, variant)?)?;
    Ok(end)
}
