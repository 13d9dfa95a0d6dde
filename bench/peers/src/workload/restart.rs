//! Until a store serves again: another process filled it, and closed it or was killed.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use super::effort::Effort;
use super::setup::{MEMORY_BYTES, Task};
use super::{Ending, Part, note};
use crate::backend::{Backend, Kind, Setting};
use crate::data::{KEY_BYTES, Values, key, scatter};
use crate::failure::{Failure, Result};
use crate::record::Metrics;

const VALUE_BYTES: usize = 100;
/// foyer takes 4 KiB for each entry, whatever its size.
const FOYER_ENTRY_BYTES: u64 = 4608;
const ENTRY_BYTES: u64 = 256;
/// All hits are so many, spread over all keys.
const LOOKED_FOR: u64 = 100_000;
const RECENT_BYTES: u64 = 256 << 20;
/// Of what comes between checkpoints.
const WORST: f64 = 0.95;
/// perennial's frame has a head, a row in its segment's table, and is padded.
const FRAME_BYTES: u64 = ((VALUE_BYTES + KEY_BYTES + 48) as u64).next_multiple_of(16) + 24;

/// What the process before is told.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Life {
    #[arg(long)]
    pub(crate) backend: Kind,
    #[arg(long)]
    pub(crate) dir: std::path::PathBuf,
    #[arg(long)]
    pub(crate) entries: u64,
    #[arg(long)]
    pub(crate) ending: String,
    #[arg(long)]
    pub(crate) quick: bool,
}

fn setting(kind: Kind, dir: &Path, entries: u64) -> Setting {
    let each = if kind == Kind::Foyer {
        FOYER_ENTRY_BYTES
    } else {
        ENTRY_BYTES
    };
    Setting {
        dir: dir.to_owned(),
        capacity_bytes: (entries * each).max(1 << 30),
        memory_bytes: MEMORY_BYTES,
    }
}

fn ending(name: &str) -> Result<Ending> {
    match format!("restart/1/{name}").parse()? {
        super::Workload::Restart { ending, .. } => Ok(ending),
        _ => Err(Failure::new("an ending has another workload's name")),
    }
}

/// The process before: fills, says how many entries there are, then closes or waits to be killed.
pub(crate) fn live(life: &Life) -> Result<()> {
    let ending = ending(&life.ending)?;
    let setting = setting(life.backend, &life.dir, life.entries);
    let store = life.backend.open(&setting)?;
    let values = Values::new(VALUE_BYTES);
    let task = Task {
        kind: life.backend,
        dir: &life.dir,
        effort: Effort::of(life.quick),
    };
    let put = task.put_all(&*store, &values, 0, life.entries)?;
    match ending {
        Ending::KillWorst => until_the_worst(&*store, &values, put, &setting)?,
        Ending::KillRecent => {
            store.checkpoint()?;
            for n in (0..RECENT_BYTES / FRAME_BYTES).map(|n| n % put) {
                store.put(&key(n), values.of(n))?;
            }
        }
        Ending::Clean | Ending::Kill => {}
    }
    let checkpoints = store
        .figures()
        .iter()
        .find(|(name, _)| *name == "checkpoint_bytes")
        .map_or(0.0, |(_, it)| *it);
    if ending == Ending::Clean {
        store.close()?;
        say(put, checkpoints)
    } else {
        say(put, checkpoints)?;
        loop {
            std::thread::park();
        }
    }
}

fn say(put: u64, checkpoint_bytes: f64) -> Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{put} {checkpoint_bytes}")?;
    Ok(out.flush()?)
}

/// Puts on, the oldest keys again, until nearly as many came since a checkpoint as came between the two before.
fn until_the_worst(
    store: &dyn Backend,
    values: &Values,
    put: u64,
    setting: &Setting,
) -> Result<()> {
    let checkpoints = || {
        store
            .figures()
            .iter()
            .find(|(name, _)| *name == "checkpoints")
            .map_or(0.0, |(_, it)| *it)
    };
    let (mut before, mut since, mut worst) = (checkpoints(), 0, None);
    let mut seen = false;
    // Where none comes, it was never far.
    for n in 0..6 * setting.capacity_bytes / FRAME_BYTES {
        let n = n % put;
        store.put(&key(n), values.of(n))?;
        since += 1;
        if n.is_multiple_of(1024) && checkpoints() != before {
            worst = seen.then_some((since as f64 * WORST) as u64);
            (before, since, seen) = (checkpoints(), 0, true);
        }
        if worst.is_some_and(|worst| since >= worst) {
            return Ok(());
        }
    }
    Err(Failure::new(
        "no checkpoint was written however much was put",
    ))
}

pub(super) fn run(task: &Task<'_>, entries: u64, ending: Ending) -> Result<Vec<Part>> {
    let (mut child, said) = before(task, entries, ending)?;
    if ending == Ending::Clean {
        let status = child.wait()?;
        if !status.success() {
            return Err(Failure::new(format!(
                "the process before ended with {status}"
            )));
        }
    } else {
        child.kill()?;
        child.wait()?;
    }
    let (put, checkpoint_bytes) = parse(&said)?;
    let mut metrics = again(task, entries, put)?;
    note(&mut metrics, "entries", put as f64);
    if checkpoint_bytes > 0.0 {
        note(&mut metrics, "checkpoint_bytes_before", checkpoint_bytes);
    }
    Ok(Part::whole(metrics))
}

fn before(task: &Task<'_>, entries: u64, ending: Ending) -> Result<(Child, String)> {
    let name = super::Workload::Restart { entries, ending }.to_string();
    let ending = name.rsplit('/').next().unwrap_or_default();
    let mut child = Command::new(std::env::current_exe()?)
        .args(["life", "--backend", task.kind.name(), "--ending", ending])
        .args(["--entries", &entries.to_string()])
        .args((task.effort == Effort::Quick).then_some("--quick"))
        .arg("--dir")
        .arg(task.dir)
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut line)?;
    }
    Ok((child, line))
}

fn parse(said: &str) -> Result<(u64, f64)> {
    let mut words = said.split_whitespace();
    words
        .next()
        .and_then(|put| put.parse().ok())
        .zip(words.next().and_then(|bytes| bytes.parse().ok()))
        .ok_or_else(|| {
            Failure::new(format!(
                "the process before did not say what it put: {said:?}"
            ))
        })
}

/// Opens, and looks for keys in no order until all are answered.
fn again(task: &Task<'_>, entries: u64, put: u64) -> Result<Metrics> {
    let values = Values::new(VALUE_BYTES);
    let setting = setting(task.kind, task.dir, entries);
    let looked_for = LOOKED_FOR.min(put);
    let started = Instant::now();
    let store = task.kind.open(&setting)?;
    let opened = started.elapsed().as_secs_f64();
    let (mut first, mut found, mut wrong) = (f64::NAN, 0_u64, 0);
    for at in 0..looked_for {
        let n = scatter(at) % put;
        let look = &mut |got: &[u8]| wrong += u64::from(!values.is(n, got));
        if store.get(&key(n), look)? {
            found += 1;
            if found == 1 {
                first = started.elapsed().as_secs_f64();
            }
        }
    }
    let all = started.elapsed().as_secs_f64();
    if wrong > 0 {
        return Err(Failure::new(format!("{wrong} values are not what was put")));
    }
    let mut metrics = Metrics::new();
    note(&mut metrics, "open_s", opened);
    note(&mut metrics, "open_ns_per_entry", 1e9 * opened / put as f64);
    note(&mut metrics, "all_hits_s", all);
    note(&mut metrics, "kept", found as f64 / looked_for as f64);
    if first.is_finite() {
        note(&mut metrics, "first_hit_s", first);
    }
    for (name, figure) in store.figures() {
        if name == "replayed" {
            note(&mut metrics, name, figure);
        }
    }
    store.close()?;
    Ok(metrics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_says_is_understood() {
        assert_eq!(parse("12 3.5\n").unwrap(), (12, 3.5));
        for nonsense in ["", "12", "x 1", "12 y"] {
            assert!(parse(nonsense).is_err(), "{nonsense}");
        }
        assert_eq!(ending("kill-worst").unwrap(), Ending::KillWorst);
        assert!(ending("sleep").is_err());
    }
}
