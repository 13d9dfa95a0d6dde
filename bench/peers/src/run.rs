//! Runs a plan: each sample in a process of its own, the stores taking turns.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use crate::args;
use crate::backend::Kind;
use crate::failure::{Failure, Result};
use crate::measure::machine;
use crate::plan::{self, Item};
use crate::record::{Missing, Run, Sample};
use crate::time::utc;
use crate::workload::{Effort, Workload};

/// What the largest workload needs, with room.
const FREE_BYTES: u64 = 40_000_000_000;
const FREE_BYTES_QUICK: u64 = 8_000_000_000;
/// A sample that takes longer hangs.
const SAMPLE_LIMIT: Duration = Duration::from_secs(900);

pub(crate) fn run(args: &args::Run) -> Result<Run> {
    let effort = Effort::of(args.quick);
    let items = plan::chosen(plan::all(effort), &args.only, &args.backends);
    if items.is_empty() {
        return Err(Failure::new(
            "no workload has such a name on such a store: `list` prints all",
        ));
    }
    let needed = if args.quick {
        FREE_BYTES_QUICK
    } else {
        FREE_BYTES
    };
    let space = rustix::fs::statvfs(&args.dir).map_err(Failure::of(args.dir.display()))?;
    if space.f_bavail * space.f_frsize < needed {
        let gigabytes = needed / 1_000_000_000;
        return Err(Failure::new(format!(
            "{} needs {gigabytes} GB of free space",
            args.dir.display()
        )));
    }
    let minutes = args.minutes.unwrap_or(if args.quick { 15 } else { 180 });
    let driver = Driver {
        dir: args.dir.clone(),
        quick: args.quick,
        repeats: args.repeats.unwrap_or_else(|| plan::repeats(effort)),
        started: Instant::now(),
        limit: Duration::from_secs(60 * minutes),
    };
    let mut run = Run {
        command: std::env::args().collect::<Vec<_>>().join(" "),
        quick: args.quick,
        began: utc(SystemTime::now()),
        machine: machine::describe(),
        ..Run::default()
    };
    for item in &items {
        driver.item(item, &mut run);
    }
    run.seconds = driver.started.elapsed().as_secs_f64();
    Ok(run)
}

struct Driver {
    dir: PathBuf,
    quick: bool,
    repeats: u32,
    started: Instant,
    limit: Duration,
}

impl Driver {
    /// A B A B: what disturbs the machine for a while disturbs all of them.
    fn item(&self, item: &Item, run: &mut Run) {
        for repeat in 0..self.repeats.min(item.most_repeats) {
            for kind in &item.kinds {
                match self.sample(item.workload, *kind, repeat) {
                    Ok(samples) => run.samples.extend(samples),
                    Err(failure) => {
                        eprintln!("{} {kind}: {failure}", item.workload);
                        run.missing.push(Missing {
                            workload: item.workload.to_string(),
                            backend: kind.name().to_owned(),
                            repeat,
                            why: failure.to_string(),
                        });
                    }
                }
            }
        }
    }

    fn sample(&self, workload: Workload, kind: Kind, repeat: u32) -> Result<Vec<Sample>> {
        let left = self.limit.saturating_sub(self.started.elapsed());
        if left.is_zero() {
            return Err(Failure::new("there was no time left"));
        }
        let dir = tempfile::Builder::new()
            .prefix("peers-")
            .tempdir_in(&self.dir)?;
        let started = Instant::now();
        let samples = self.child(workload, kind, repeat, dir.path(), left.min(SAMPLE_LIMIT))?;
        dir.close()?;
        let seconds = started.elapsed().as_secs_f64();
        let minutes = self.started.elapsed().as_secs() / 60;
        eprintln!(
            "{minutes:3} min  {workload} {kind} #{repeat}: {seconds:.1} s  {}",
            headline(&samples)
        );
        Ok(samples)
    }

    fn child(
        &self,
        workload: Workload,
        kind: Kind,
        repeat: u32,
        dir: &Path,
        limit: Duration,
    ) -> Result<Vec<Sample>> {
        let mut child = Command::new(std::env::current_exe()?)
            .args([
                "sample",
                "--workload",
                &workload.to_string(),
                "--backend",
                kind.name(),
            ])
            .args(["--repeat", &repeat.to_string()])
            .args(self.quick.then_some("--quick"))
            .arg("--dir")
            .arg(dir.canonicalize()?)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let started = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if started.elapsed() > limit {
                child.kill()?;
                child.wait()?;
                return Err(Failure::new("it took too long"));
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let (mut out, mut err) = (String::new(), String::new());
        if let (Some(mut stdout), Some(mut stderr)) = (child.stdout.take(), child.stderr.take()) {
            stdout.read_to_string(&mut out)?;
            stderr.read_to_string(&mut err)?;
        }
        if !status.success() {
            return Err(Failure::new(format!("{status}: {}", err.trim())));
        }
        Ok(serde_json::from_str(&out)?)
    }
}

/// What is most likely wanted of a sample, for whoever watches.
fn headline(samples: &[Sample]) -> String {
    const WANTED: [&str; 6] = [
        "bytes_per_s",
        "ops_per_s",
        "first_hit_s",
        "rss_bytes_per_entry",
        "write_amplification",
        "disk_busy_p99_ns",
    ];
    let first = |sample: &Sample| {
        WANTED.iter().find_map(|name| {
            sample
                .metrics
                .get(*name)
                .map(|figure| format!("{name} {figure:.3e}"))
        })
    };
    samples.first().and_then(first).unwrap_or_default()
}
