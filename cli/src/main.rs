//! The `perennial` command: shows that the cache is warm after a crash, looks into a cache, and uses it from a shell.
//!
//! Data goes to stdout, logs to stderr. Exit status: see [`exit::Exit`].

mod args;
mod bench;
mod call;
mod checkpoint;
mod clock;
mod completions;
mod config;
mod create;
mod del;
mod demo;
mod destination;
mod dice;
mod duration;
mod environment;
mod escape;
mod exit;
mod export;
mod failure;
mod get;
mod import;
mod inspect;
mod key;
mod keys;
mod logging;
mod open;
mod output;
mod place;
mod progress;
mod put;
mod repair;
mod resize;
mod size;
mod stat;
mod stream;
mod traces;
mod verify;
mod warm;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use crate::args::{Args, Command};
use crate::call::Call;
use crate::exit::Exit;
use crate::failure::Failure;

fn main() -> ExitCode {
    let matches = environment::matches(Args::command()).unwrap_or_else(|error| error.exit());
    let args = Args::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    logging::start(args.verbosity);
    let exit = run(&args, &Call::new(&args, &matches)).unwrap_or_else(|failure| {
        if !matches!(failure, Failure::ReaderGone) {
            output::note(format_args!("perennial: {failure}"));
        }
        failure.exit()
    });
    ExitCode::from(exit)
}

fn run(args: &Args, call: &Call<'_>) -> Result<Exit, Failure> {
    match &args.command {
        Command::Create(create) => create::run(create, call),
        Command::Get(get) => get::run(get, call),
        Command::Put(put) => put::run(put, call),
        Command::Del(del) => del::run(del, call),
        Command::Keys(keys) => keys::run(keys, call),
        Command::Stat(stat) => stat::run(stat, call),
        Command::Inspect(inspect) => inspect::run(inspect),
        Command::Verify(look) => verify::run(look, call),
        Command::Repair(repair) => repair::run(repair, call),
        Command::Checkpoint(checkpoint) => checkpoint::run(checkpoint, call),
        Command::Resize(resize) => resize::run(resize, call),
        Command::Warm(warm) => warm::run(warm, call),
        Command::Export(export) => export::run(export, call),
        Command::Import(import) => import::run(import, call),
        Command::Bench(bench) => bench::run(bench, call),
        Command::Demo(demo) => demo::run(demo, args.verbosity),
        Command::DemoChild => demo::child::run(),
        Command::Completions(completions) => completions::run(completions),
        Command::Config(command) => config::show::run(command, call),
    }
}
