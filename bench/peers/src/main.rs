//! The `perennial-peers` command: perennial beside what one would use instead, and beside what the machine can do.
//! docs/benchmarks.md says what each line means.
//!
//! Data goes to stdout, errors and progress to stderr. Exit status: 0 fine, 1 error or something wanted was missed, 2 usage.

mod args;
mod backend;
mod data;
mod failure;
mod limit;
mod measure;
mod plan;
mod record;
mod report;
mod run;
mod time;
mod workload;

use std::fs;
use std::io::{Write, stdout};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Command};
use crate::failure::{Failure, Result};
use crate::workload::Effort;

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("perennial-peers: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<bool> {
    match &args.command {
        Command::Run(args) => whole_run(args)?,
        Command::List(list) => say(&report::list(&plan::all(Effort::of(list.quick))))?,
        Command::Judge(file) => {
            let verdicts = report::judge(&read(&file.file)?);
            say(&report::judged(&verdicts))?;
            return Ok(!verdicts.iter().any(report::Verdict::is_missed));
        }
        Command::Table(file) => say(&report::table(&read(&file.file)?))?,
        Command::Page(page) => {
            write(
                &page.html,
                &report::page(
                    &read(&page.file)?,
                    policies(page.policies.as_deref())?.as_deref(),
                ),
            )?;
        }
        Command::Sample(sample) => {
            let samples = workload::run(
                sample.workload.parse()?,
                sample.backend,
                &sample.dir,
                Effort::of(sample.quick),
                sample.repeat,
            )?;
            say(&serde_json::to_string(&samples)?)?;
        }
        Command::Life(life) => workload::live(life)?,
    }
    Ok(true)
}

fn whole_run(args: &args::Run) -> Result<()> {
    // What cannot be read is said before three hours are gone.
    let policies = policies(args.policies.as_deref())?;
    let run = run::run(args)?;
    if let Some(path) = &args.json {
        write(path, &serde_json::to_string_pretty(&run)?)?;
    }
    if let Some(path) = &args.html {
        write(path, &report::page(&run, policies.as_deref()))?;
    }
    say(&report::table(&run))?;
    say(&report::judged(&report::judge(&run)))
}

fn policies(path: Option<&Path>) -> Result<Option<String>> {
    path.map(|path| fs::read_to_string(path).map_err(Failure::of(path.display())))
        .transpose()
}

fn read(path: &Path) -> Result<record::Run> {
    let text = fs::read_to_string(path).map_err(Failure::of(path.display()))?;
    serde_json::from_str(&text).map_err(Failure::of(path.display()))
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(Failure::of(path.display()))
}

fn say(text: &str) -> Result<()> {
    Ok(writeln!(stdout(), "{text}")?)
}
