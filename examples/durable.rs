//! What survives what: a child process stores entries until it is killed, and its parent finds every one that it heard of.
//!
//! `cargo run --example durable`

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use perennial::{Cache, ErrorKind, Options};

/// How many entries the parent hears of before it kills.
const HEARD: usize = 2_000;
/// Every so many are to survive a power cut, too; that costs a sync, which all who wait share.
const DURABLE_EVERY: u64 = 100;

type Outcome = Result<(), Box<dyn Error>>;

fn options() -> Options {
    Options::new().capacity_bytes(64 << 20)
}

fn main() -> Outcome {
    match std::env::args().nth(1) {
        Some(dir) => fill(Path::new(&dir)),
        None => watch(),
    }
}

fn key(n: u64) -> String {
    format!("entry/{n}")
}

fn value(n: u64) -> Vec<u8> {
    format!("the value of entry {n}; ").repeat(40).into_bytes()
}

/// The child: stores, then says so. It never ends by itself.
fn fill(dir: &Path) -> Outcome {
    let cache = Cache::open(dir, options())?;
    let mut out = std::io::stdout().lock();
    for n in 0.. {
        if n % DURABLE_EVERY == 0 {
            cache.insert_durable(key(n), value(n))?;
        } else {
            cache.insert(key(n), value(n))?;
        }
        writeln!(out, "{n}")?;
    }
    Ok(())
}

fn watch() -> Outcome {
    let dir = tempfile::tempdir()?;
    let mut child = Command::new(std::env::current_exe()?)
        .arg(dir.path())
        .stdout(Stdio::piped())
        .spawn()?;
    let heard = listen(&mut child);
    let refused = Cache::open(dir.path(), options());
    // SIGKILL: nothing is flushed, nothing is closed.
    child.kill()?;
    child.wait()?;
    let newest = heard?;
    check(
        refused.is_err_and(|error| error.kind() == ErrorKind::Locked),
        "one process has a directory open at a time",
    )?;

    let cache = Cache::open(dir.path(), options())?;
    for n in 0..=newest {
        let found = cache.get(key(n))?;
        check(
            found.is_some_and(|found| found[..] == value(n)),
            &format!("entry {n} outlives the process"),
        )?;
    }
    println!("killed after entry {newest}: all {} are there", newest + 1);
    println!("{}", cache.stats());
    // Now they survive a power cut, too.
    cache.close()?;
    Ok(())
}

/// The number of the last entry that the child said it had stored.
fn listen(child: &mut Child) -> Result<u64, Box<dyn Error>> {
    let out = child.stdout.take().ok_or("the child has no stdout")?;
    let line = BufReader::new(out).lines().nth(HEARD);
    Ok(line.ok_or("the child ended by itself")??.parse()?)
}

fn check(holds: bool, what: &str) -> Outcome {
    if holds {
        return Ok(());
    }
    Err(format!("this does not hold: {what}").into())
}
