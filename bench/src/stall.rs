//! `perennial-bench stall`: how long hits take while every write of the cache hangs, and while none does.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use perennial::{Cache, Options};
use perennial_failpoints::{Action, CallKind, FaultFs, Plan, StdFs};
use serde::Serialize;

use crate::args::Stall;
use crate::clock::timed;
use crate::failure::Failure;
use crate::report::ratio;

const KEYS: u32 = 10_000;
const VALUE_BYTES: usize = 4096;
/// Rounds of either kind, one after the other.
const ROUNDS: usize = 5;

/// Nanoseconds.
#[derive(Debug, Clone, Copy, Serialize)]
struct Quantiles {
    p50_ns: u64,
    p99_ns: u64,
}

#[derive(Debug, Serialize)]
struct Report {
    hits: u64,
    quiet: Quantiles,
    stalled: Quantiles,
    p50_ratio: f64,
    p99_ratio: f64,
}

pub(crate) fn run(args: &Stall) -> Result<(), Failure> {
    let dir = tempfile::tempdir().map_err(Failure::Temporary)?;
    let (cache, fs) = filled(dir.path())?;
    let (mut quiet, mut stalled) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        quiet.push(hits(&cache, args.hits)?);
        stalled.push(while_stalled(&cache, &fs, args.hits)?);
    }
    cache.close()?;
    let (quiet, stalled) = (median(quiet), median(stalled));
    let report = Report {
        hits: args.hits * ROUNDS as u64,
        quiet,
        stalled,
        p50_ratio: ratio(stalled.p50_ns, quiet.p50_ns),
        p99_ratio: ratio(stalled.p99_ns, quiet.p99_ns),
    };
    let line = if args.json {
        serde_json::to_string(&report)?
    } else {
        format!("{report:#?}")
    };
    writeln!(io::stdout(), "{line}").map_err(Failure::Output)
}

fn filled(dir: &Path) -> Result<(Cache, FaultFs), Failure> {
    let fs = FaultFs::new(Arc::new(StdFs), Plan::none());
    let options = Options::new()
        .capacity_bytes(256 << 20)
        .tail_bytes(16 << 20)
        .memory_tier_bytes(8 << 20);
    let cache = Cache::open_with(Arc::new(fs.clone()), dir, options)?;
    for n in 0..KEYS {
        cache.insert(n.to_le_bytes(), [7; VALUE_BYTES])?;
    }
    cache.flush()?;
    Ok((cache, fs))
}

fn hits(cache: &Cache, count: u64) -> Result<Quantiles, Failure> {
    let mut took = Vec::new();
    for n in 0..count {
        // All keys, in an order that no cache of the machine foresees.
        let key = u32::try_from(n * 7919 % u64::from(KEYS)).unwrap_or(0);
        let (found, one) = timed(|| cache.get(key.to_le_bytes()));
        if found?.is_none() {
            return Err(Failure::Churn(format!("key {key} is gone")));
        }
        took.push(u64::try_from(one.as_nanos()).unwrap_or(u64::MAX));
    }
    took.sort_unstable();
    let at = |percent: usize| took[(took.len() - 1) * percent / 100];
    Ok(Quantiles {
        p50_ns: at(50),
        p99_ns: at(99),
    })
}

/// A writer fills the tail and waits for the device, as does the background.
fn while_stalled(cache: &Cache, fs: &FaultFs, count: u64) -> Result<Quantiles, Failure> {
    fs.set_plan(Plan::new(|call| match call.kind {
        CallKind::Write | CallKind::SyncData | CallKind::SyncDir | CallKind::Allocate => {
            Action::Hold
        }
        _ => Action::Pass,
    }));
    let over = AtomicBool::new(false);
    let measured = thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                // What is refused when all is over is not asked for again.
                if cache.insert("filler", [8; VALUE_BYTES]).is_err() {
                    break;
                }
            }
        });
        while fs.held() == 0 {
            thread::yield_now();
        }
        // Until the writer waits, too.
        thread::sleep(Duration::from_millis(50));
        let measured = hits(cache, count);
        over.store(true, Ordering::Relaxed);
        fs.set_plan(Plan::none());
        // Calls that were decided on before come to be held a little later.
        for _ in 0..100 {
            fs.let_go();
            thread::sleep(Duration::from_millis(1));
        }
        measured
    });
    cache.flush()?;
    measured
}

fn median(mut rounds: Vec<Quantiles>) -> Quantiles {
    let middle = rounds.len() / 2;
    rounds.sort_unstable_by_key(|round| round.p50_ns);
    let p50_ns = rounds[middle].p50_ns;
    rounds.sort_unstable_by_key(|round| round.p99_ns);
    Quantiles {
        p50_ns,
        p99_ns: rounds[middle].p99_ns,
    }
}
