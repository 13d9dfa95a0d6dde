//! The `perennial` command: shows that the cache is warm after a crash, and looks into a cache without changing it.
//!
//! Data goes to stdout, logs to stderr. Exit status: see [`exit::Exit`].

mod args;
mod demo;
mod exit;
mod logging;
mod output;
mod size;
mod stat;
mod verify;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Command};
use crate::exit::{Exit, Failure};

fn main() -> ExitCode {
    let args = Args::parse();
    logging::start(args.verbosity);
    let exit = run(&args).unwrap_or_else(|failure| {
        eprintln!("perennial: {failure}");
        failure.exit()
    });
    ExitCode::from(exit)
}

fn run(args: &Args) -> Result<Exit, Failure> {
    match &args.command {
        Command::Demo(demo) => demo::run(demo, args.verbosity),
        Command::DemoChild => demo::child::run(),
        Command::Stat(look) => stat::run(look),
        Command::Verify(look) => verify::run(look),
    }
}
