//! What the command line may say.

use std::fmt;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// Replays cache traces on perennial and on models of its eviction policies.
#[derive(Debug, Parser)]
#[command(name = "perennial-bench", version)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Replay one trace: get each key, insert it after a miss.
    Replay(Replay),
    /// Fill a cache many times over, with restarts and kills, and see that it stays what it was.
    Churn(Churn),
    /// How long hits take while every write hangs.
    Stall(Stall),
    /// One life of a churn, which may be killed.
    #[command(hide = true)]
    Life(Life),
    /// Replay all traces of a directory at 1, 5, 10 and 25 % of their footprint, and compare the policies.
    Table(Table),
    /// Replay the same cells with the cache itself and with the model, and say how far they are apart.
    Agree(Agree),
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Replay {
    /// Records of 16 bytes, little-endian: key u64, size u32, op u32; plain, or compressed by zstd and named `.zst`.
    #[arg(value_name = "FILE")]
    pub(crate) trace: PathBuf,
    /// Bytes of the cache.
    #[arg(long, value_name = "BYTES")]
    pub(crate) capacity: u64,
    #[arg(long, value_enum)]
    pub(crate) policy: PolicyName,
    /// With s3-merge: the reads within the log that make an entry worth keeping.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    pub(crate) promote: u8,
    /// With s3-merge: whether a duel decides where survivors go.
    #[arg(long, value_enum, default_value_t = Switch::On)]
    pub(crate) duel: Switch,
    /// Segments of the cache. Default: 64, fewer down to 8 where one would hold less than 16 entries.
    #[arg(long, value_name = "N", conflicts_with = "segment_bytes", value_parser = clap::value_parser!(u64).range(4..))]
    pub(crate) segments: Option<u64>,
    /// Bytes of one segment.
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(4096..))]
    pub(crate) segment_bytes: Option<u64>,
    /// The cache itself on files in a temporary directory, or its policy without the bytes.
    #[arg(long, value_enum, default_value_t = Mode::Model)]
    pub(crate) mode: Mode,
    /// Print one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) tuning: Tuning,
}

/// Numbers of `s3-merge` that measurements vary.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Tuning {
    /// With s3-merge: the log's share of the segments.
    #[arg(long, value_name = "PERCENT", default_value_t = Self::default().log_percent, value_parser = clap::value_parser!(u64).range(1..=90))]
    pub(crate) log_percent: u64,
    /// With s3-merge: ghosts for each 100 entries.
    #[arg(long, value_name = "PERCENT", default_value_t = Self::default().ghost_percent, value_parser = clap::value_parser!(u64).range(0..=1000))]
    pub(crate) ghost_percent: u64,
    /// With s3-merge: a kept segment stays as it is if so much of it would be kept.
    #[arg(long, value_name = "PERCENT", default_value_t = Self::default().stay_percent, value_parser = clap::value_parser!(u64).range(1..=101))]
    pub(crate) stay_percent: u64,
    /// With s3-merge: reads of entries in this newest part of the log are no visits.
    #[arg(long, value_name = "PERCENT", default_value_t = Self::default().young_percent, value_parser = clap::value_parser!(u64).range(0..=90))]
    pub(crate) young_percent: u64,
}

/// What the cache does: it has options for none of these but the log's share.
impl Default for Tuning {
    fn default() -> Self {
        Self {
            log_percent: 25,
            ghost_percent: 150,
            stay_percent: 90,
            young_percent: 25,
        }
    }
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Table {
    /// Where the traces lie: `*.bin` and `*.bin.zst`.
    #[arg(value_name = "DIR")]
    pub(crate) traces: PathBuf,
    /// Print every cell, too.
    #[arg(long)]
    pub(crate) cells: bool,
    #[command(flatten)]
    pub(crate) tuning: Tuning,
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Agree {
    /// Where the traces lie: `*.bin` and `*.bin.zst`.
    #[arg(value_name = "DIR")]
    pub(crate) traces: PathBuf,
    /// Every policy, not only the default.
    #[arg(long)]
    pub(crate) all: bool,
    /// Points of hit ratio that the two may be apart.
    #[arg(long, value_name = "POINTS", default_value_t = 0.5)]
    pub(crate) within: f64,
    /// Traces, by their names without `.bin`. Default: all.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Caches of this size alone: 1, 5, 10 or 25.
    #[arg(long, value_name = "PERCENT")]
    pub(crate) percent: Option<u64>,
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Churn {
    /// Bytes of the cache.
    #[arg(long, value_name = "BYTES", default_value_t = 256 << 20, value_parser = clap::value_parser!(u64).range(8 << 20..))]
    pub(crate) capacity: u64,
    /// Bytes inserted in all, by the capacity.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) times: u64,
    /// Lives; every second one ends by SIGKILL.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u64).range(10..))]
    pub(crate) restarts: u64,
    /// Where the cache lies. Default: a temporary directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Print one line of JSON for each tenth.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Stall {
    /// Hits in a round; there are five rounds with the stall, and five without.
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(100..))]
    pub(crate) hits: u64,
    /// Print one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Life {
    pub(crate) dir: PathBuf,
    pub(crate) capacity: u64,
    /// Its number: the keys it asks for follow from that.
    pub(crate) number: u64,
    /// Bytes to insert.
    pub(crate) bytes: u64,
    /// Go on until somebody ends it.
    #[arg(long)]
    pub(crate) until_killed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PolicyName {
    /// Whole segments, oldest first.
    Fifo,
    /// FIFO, and what was read goes to the head of the log again.
    Clock,
    /// A small log for probation, and kept segments that are merged.
    S3Merge,
    /// Exact, in memory, value bytes alone; for comparison.
    Lru,
}

impl fmt::Display for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fifo => "fifo",
            Self::Clock => "clock",
            Self::S3Merge => "s3-merge",
            Self::Lru => "lru",
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    On,
    Off,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    Real,
    Model,
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
    fn a_replay_has_defaults() {
        let line = "perennial-bench replay t.bin --capacity 1000 --policy s3-merge";
        let Command::Replay(replay) = Args::try_parse_from(line.split(' ')).unwrap().command else {
            panic!("not a replay");
        };
        assert_eq!((replay.promote, replay.duel), (1, Switch::On));
        assert_eq!((replay.segments, replay.mode), (None, Mode::Model));
    }

    #[test]
    fn nonsense_is_refused() {
        for rest in [
            "--promote 3",
            "--segments 2",
            "--segments 8 --segment-bytes 8192",
        ] {
            let line = format!("perennial-bench replay t --capacity 9 --policy fifo {rest}");
            assert!(Args::try_parse_from(line.split(' ')).is_err(), "{rest}");
        }
    }
}
