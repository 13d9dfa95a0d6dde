//! Real files, real processes, SIGKILL.
//!
//! The test re-executes itself: a child works on a cache and says through a pipe what it begins and what returned; the
//! parent kills it, opens the directory and asks the oracle. Nothing that returned may be lost, stale or resurrected.
//!
//! `cargo test --test crash -- kill_loop --lives 10000 --seed 7` runs one scenario for longer. A kill comes when it
//! comes, so a seed repeats the operations and the moments, not the interleaving; the directory of a failure is kept.

#![expect(
    clippy::unwrap_used,
    reason = "a broken test environment ends the test"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "real files and real threads are what is tested"
)]

mod blocks;
mod directory;
mod disk;
mod every_call;
mod full_disk;
mod kill_loop;
mod killed_close;
mod locks;
mod panics;
mod pipe;
mod process;
mod random;
mod read_only;
mod witness;
mod worker;

use std::process::ExitCode;

use perennial_failpoints::StdFs;
use perennial_failpoints::fs::Fs;

/// A scenario: what it did, or what went wrong.
type Outcome = Result<String, String>;

/// The seed unless `--seed` names another, so that a failure in one run is one in the next.
const SEED: u64 = 1;

/// What a run of all scenarios is given.
struct Settings {
    seed: u64,
    lives: u32,
}

type Scenario = fn(&Settings) -> Outcome;

const SCENARIOS: &[(&str, Scenario)] = &[
    ("kill_loop", kill_loop::scenario),
    ("first_open_killed_at_every_call", every_call::first_open),
    ("open_killed_at_every_call", every_call::reopen),
    ("two_processes", locks::two_processes),
    ("killed_close", killed_close::scenario),
    ("panicking_threads", panics::scenario),
    ("killed_scan", blocks::scenario),
    ("read_only", read_only::scenario),
    ("minimal_25_enospc_then_space", full_disk::scenario),
];

const CHILDREN: &[(&str, process::Task)] = &[
    ("kill_loop", kill_loop::child),
    ("prepare", every_call::prepare_child),
    ("open", every_call::open_child),
    ("close", killed_close::child),
    ("hold", locks::child),
    ("panics", panics::child),
    ("scan", blocks::child),
    ("read_only", read_only::child),
    ("full_disks", full_disk::on_each_disk),
    ("full_disk", full_disk::life::child),
];

/// The command line; flags of the usual test harness are accepted and mean nothing here.
struct Arguments {
    settings: Settings,
    filters: Vec<String>,
    exact: bool,
    list: bool,
    ignored: bool,
}

impl Arguments {
    fn parse(mut given: impl Iterator<Item = String>) -> Self {
        let settings = Settings {
            seed: SEED,
            lives: 200,
        };
        let mut parsed = Self {
            settings,
            filters: Vec::new(),
            exact: false,
            list: false,
            ignored: false,
        };
        while let Some(argument) = given.next() {
            let mut number = || {
                given
                    .next()
                    .and_then(|n| n.parse().ok())
                    .expect("a number behind the flag")
            };
            match argument.as_str() {
                "--seed" => parsed.settings.seed = number(),
                "--lives" => parsed.settings.lives = u32::try_from(number()).expect("lives"),
                "--list" => parsed.list = true,
                "--ignored" => parsed.ignored = true,
                "--exact" => parsed.exact = true,
                "--format" | "--test-threads" | "--color" | "--skip" => drop(given.next()),
                flag if flag.starts_with('-') => {}
                filter => parsed.filters.push(filter.to_owned()),
            }
        }
        parsed
    }

    fn wants(&self, name: &str) -> bool {
        let fits = |filter: &String| {
            if self.exact {
                filter == name
            } else {
                name.contains(filter.as_str())
            }
        };
        !self.ignored && (self.filters.is_empty() || self.filters.iter().any(fits))
    }
}

fn main() -> ExitCode {
    let mut given = std::env::args().skip(1).peekable();
    if given.next_if(|first| first == process::CHILD).is_some() {
        return process::run_child(CHILDREN, given.collect());
    }
    let arguments = Arguments::parse(given);
    let chosen = || SCENARIOS.iter().filter(|(name, _)| arguments.wants(name));
    if arguments.list {
        chosen().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    println!("seed {}", arguments.settings.seed);
    let failed = chosen()
        .filter(|(name, scenario)| !run(name, *scenario, &arguments.settings))
        .count();
    println!("{} passed, {failed} failed", chosen().count() - failed);
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn run(name: &str, scenario: Scenario, settings: &Settings) -> bool {
    let began = StdFs.monotonic_ns();
    let outcome = scenario(settings);
    let tenths = (StdFs.monotonic_ns() - began) / 100_000_000;
    let (word, what) = match &outcome {
        Ok(what) => ("ok", what),
        Err(why) => ("FAILED", why),
    };
    println!(
        "{name} ... {word} ({what}; {}.{} s)",
        tenths / 10,
        tenths % 10
    );
    outcome.is_ok()
}
