//! A ledger: `ledger DIR` shows what DIR holds and appends a line every now and then until it is killed; `ledger DIR WORD...`
//! appends the words and ends.
//!
//! Kill it with `kill -9` while it counts and start it again: every number it printed as appended is there. Pull the plug
//! instead, and every number up to the last "stable" is.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use perennial_failpoints::StdFs;
use perennial_wal::{Log, LogOptions, Lsn};

/// A line is made stable with this many others.
const BATCH: usize = 1000;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some((dir, words)) = args.split_first() else {
        eprintln!("usage: ledger DIR [WORD...]");
        return ExitCode::FAILURE;
    };
    match run(Path::new(dir), words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(dir: &Path, words: &[String]) -> Result<(), Box<dyn Error>> {
    let options = LogOptions::new().segment_bytes(1 << 20).tail_bytes(1 << 20);
    let log = Log::open(&StdFs, dir, &options)?;
    let lines = show(&log)?;
    if words.is_empty() {
        return count_on(&log, lines);
    }
    for word in words {
        log.append(word.as_bytes())?;
    }
    let stable = log.flush()?;
    println!("{} appended, stable up to {stable}", words.len());
    log.close()?;
    Ok(())
}

/// Prints the last lines, and returns how many there are.
fn show(log: &Log) -> Result<usize, Box<dyn Error>> {
    // What the last process left is in the segments and stable since the log was opened.
    let entries = log.iter_from(Lsn(0)).collect::<Result<Vec<_>, _>>()?;
    let skip = entries.len().saturating_sub(10);
    println!("{} lines, the last of them:", entries.len());
    for entry in &entries[skip..] {
        println!("  {}  {}", entry.lsn, String::from_utf8_lossy(&entry.bytes));
    }
    Ok(entries.len())
}

/// Appends numbers for ever.
fn count_on(log: &Log, from: usize) -> Result<(), Box<dyn Error>> {
    for n in from.. {
        let line = format!("line {n}");
        let mut place = log.reserve(line.len())?;
        place.body().value.copy_from_slice(line.as_bytes());
        let end = place.complete();
        println!("appended {n}");
        if n % BATCH == BATCH - 1 {
            log.make_stable(end)?;
            println!("stable up to {n}");
        }
    }
    Ok(())
}
