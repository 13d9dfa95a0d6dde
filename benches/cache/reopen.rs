//! How long it takes until a cache serves again: after `kill -9`, and after a clean close.
//!
//! The process that is killed is this program itself, run again with the directory in a variable.
#![expect(clippy::disallowed_methods, reason = "time is what is measured here")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use criterion::{Criterion, SamplingMode};
use perennial::Cache;

use crate::setup::{directory, key, options, value};

const ENTRIES: u64 = 1_000_000;
/// Set to the directory in the process that is going to be killed.
const CHILD: &str = "PERENNIAL_BENCH_CHILD";

pub(crate) fn all(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("reopen/1M_of_100B");
    group
        .sampling_mode(SamplingMode::Flat)
        .warm_up_time(Duration::from_millis(1))
        .measurement_time(Duration::from_millis(1));
    group.bench_function("after_kill_9", |bencher| {
        bencher.iter_custom(|times| (0..times).map(|_| after_kill()).sum());
    });
    group.bench_function("after_close", |bencher| {
        bencher.iter_custom(|times| (0..times).map(|_| after_close()).sum());
    });
    group.finish();
}

pub(crate) fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Fills the directory, says so, and waits to be killed.
pub(crate) fn child() {
    let dir = std::env::var_os(CHILD).expect("the child was told its directory");
    let _cache = fill(Path::new(&dir));
    println!("filled");
    std::io::stdout().flush().expect("the parent listens");
    loop {
        std::thread::park();
    }
}

fn fill(dir: &Path) -> Cache {
    let cache = Cache::open(dir, options()).expect("a fresh directory opens");
    let value = value(100);
    for n in 0..ENTRIES {
        cache.insert(key(n), &value).expect("stored");
    }
    cache
}

fn after_kill() -> Duration {
    let dir = directory();
    let this = std::env::current_exe().expect("the path of this program");
    let mut child = Command::new(this)
        .env(CHILD, dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts again");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("a pipe");
    BufReader::new(stdout)
        .read_line(&mut line)
        .expect("the child says that it is ready");
    child.kill().expect("killed");
    child.wait().expect("it is gone");
    reopen(dir.path())
}

fn after_close() -> Duration {
    let dir = directory();
    fill(dir.path()).close().expect("closed");
    reopen(dir.path())
}

fn reopen(dir: &Path) -> Duration {
    let started = Instant::now();
    let cache = Cache::open(dir, options()).expect("it opens again");
    let took = started.elapsed();
    assert_eq!(cache.stats().entries, ENTRIES, "nothing is lost");
    took
}
