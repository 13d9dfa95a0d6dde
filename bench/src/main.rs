//! The `perennial-bench` command: replays cache traces.
//!
//! Data goes to stdout, errors to stderr. Exit status: 0 fine, 1 error, 2 usage, 4 what was asked for is not in this
//! version.

mod agree;
mod args;
mod cells;
mod churn;
mod clock;
mod failure;
mod lru;
mod model;
mod real;
mod replay;
mod report;
mod stall;
mod steady;
mod table;
mod trace;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Command};
use crate::failure::Failure;

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("perennial-bench: {failure}");
            ExitCode::from(failure.status())
        }
    }
}

fn run(args: &Args) -> Result<(), Failure> {
    match &args.command {
        Command::Replay(replay) => replay::run(replay),
        Command::Table(table) => table::run(table),
        Command::Agree(agree) => agree::run(agree),
        Command::Churn(churn) => churn::run(churn),
        Command::Stall(stall) => stall::run(stall),
        Command::Life(life) => churn::run_life(life),
    }
}
