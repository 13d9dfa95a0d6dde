//! What one operation costs, path by path: instructions under callgrind, nanoseconds beside a bare comparison.
//!
//! `run PATH N` prepares a cache and then makes `N` operations inside one function, [`operations::operations_counted`], which is all that
//! callgrind is told to count (`--toggle-collect`): the sum divided by `N` is exact, whatever else the machine does.
//! `ratios` times paths and the bare comparisons in turn (A B A B) and prints medians. `just counts` does the first for
//! every path; `docs/performance.md` says what the numbers mean.

mod bare;
mod operations;
mod ratios;
mod warm;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use operations::{Path, operations_counted};

/// Counts and times the cache's paths.
#[derive(Debug, Parser)]
#[command(name = "perennial-counts", version)]
struct Args {
    /// Where the files lie: a real file system, for `/tmp` is often memory. Default: the directory for temporary files.
    #[arg(long, global = true)]
    dir: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes so many operations of one path.
    Run {
        /// Which path.
        path: Path,
        /// How many operations.
        #[arg(value_parser = clap::value_parser!(u64).range(1..))]
        operations: u64,
    },
    /// Prints the names of the paths that one thread takes alone.
    List,
    /// Times each path beside what it is compared with, in turn.
    Ratios {
        /// Rounds of either kind.
        #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u64).range(1..))]
        rounds: u64,
        /// Only the pairs whose path has this in its name.
        #[arg(long, default_value = "")]
        only: String,
    },
}

fn main() {
    let args = Args::parse();
    let dir = args.dir.unwrap_or_else(std::env::temp_dir);
    match args.command {
        Command::Run { path, operations } => {
            operations_counted(&mut *path.prepare(&dir), operations)
        }
        Command::List => Path::single().for_each(|path| println!("{}", path.name())),
        Command::Ratios { rounds, only } => ratios::print(&dir, rounds, &only),
    }
}
