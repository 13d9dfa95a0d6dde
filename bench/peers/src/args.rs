//! What the command line may say.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::backend::Kind;
use crate::workload::Life;

/// Measures perennial beside other stores, and beside what the machine can do.
#[derive(Debug, Parser)]
#[command(name = "perennial-peers", version)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run workloads; print a table, write JSON and a page.
    Run(Run),
    /// Print the workloads and what each is run on.
    List(List),
    /// Hold the JSON of a run against what is wanted.
    Judge(File),
    /// Print the table of a run again.
    Table(File),
    /// Write the page of a run again.
    Page(Page),
    /// One sample, in a process of its own.
    #[command(hide = true)]
    Sample(Sample),
    /// The process before a restart.
    #[command(hide = true)]
    Life(Life),
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Run {
    /// Names of workloads, or what they begin with: `fill,miss/1M`. Default: all.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Stores and limits. Default: all.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) backends: Vec<Kind>,
    /// Of each sample; the slowest workloads have fewer. Default: 3, or 1 when quick.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) repeats: Option<u32>,
    /// Less of everything: within 15 minutes. Its numbers are for finding one's way.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Where the stores' files go, in directories that are removed again: up to 40 GB. On the disk that is to be measured.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) dir: PathBuf,
    /// Where the figures go.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Where the page goes.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// What `perennial-bench table` printed, for the chart of hit ratio against flash bytes.
    #[arg(long, value_name = "FILE")]
    pub(crate) policies: Option<PathBuf>,
    /// No sample is begun after this. Default: 180, or 15 when quick.
    #[arg(long, value_name = "MINUTES", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) minutes: Option<u64>,
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct List {
    #[arg(long)]
    pub(crate) quick: bool,
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct File {
    /// What `run --json` wrote.
    pub(crate) file: PathBuf,
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Page {
    /// What `run --json` wrote.
    pub(crate) file: PathBuf,
    #[arg(long, value_name = "FILE")]
    pub(crate) html: PathBuf,
    /// What `perennial-bench table` printed.
    #[arg(long, value_name = "FILE")]
    pub(crate) policies: Option<PathBuf>,
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Sample {
    #[arg(long)]
    pub(crate) workload: String,
    #[arg(long)]
    pub(crate) backend: Kind,
    #[arg(long)]
    pub(crate) dir: PathBuf,
    #[arg(long)]
    pub(crate) repeat: u32,
    #[arg(long)]
    pub(crate) quick: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn names_come_in_lists() {
        let line = "perennial-peers run --only fill,miss --backends perennial,rocksdb-fifo --repeats 3 --quick";
        let Command::Run(run) = Args::try_parse_from(line.split(' ')).unwrap().command else {
            panic!("not a run");
        };
        assert_eq!(run.only, ["fill", "miss"]);
        assert_eq!(run.backends, [Kind::Perennial, Kind::RocksdbFifo]);
        assert!(run.quick && run.repeats == Some(3));
    }

    #[test]
    fn nonsense_is_refused() {
        for rest in ["--repeats 0", "--backends nobody", "--minutes 0"] {
            let line = format!("perennial-peers run {rest}");
            assert!(Args::try_parse_from(line.split(' ')).is_err(), "{rest}");
        }
    }
}
