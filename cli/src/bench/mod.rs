//! `perennial bench`: how fast a cache is on this machine, in this directory.
//!
//! ```text
//!   fill     every key once, in order
//!   read     as many reads, of keys at random
//!   mixed    as many operations: nine reads of ten, else a new version
//! ```
//! The cache is its own, in a directory that it makes below the one that is named, and removes: it cannot evict or overwrite
//! anything that somebody needs. Each thread has its own share of the keys and knows the newest version of each, so that every
//! read is checked against what must be there.

mod report;
mod tally;
mod values;
mod work;

use std::path::{Path, PathBuf};

use perennial::Cache;

use self::report::Report;
use self::values::Values;
use self::work::Crew;
use crate::call::Call;
use crate::config::{Flags, NewFlags};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::open::{storing, used_as};
use crate::output;
use crate::place::Place;
use crate::size::ByteSize;

/// Room for what is written anew in the mixed phase, and for what is between old and new.
const SLACK_BYTES: u64 = 64 << 20;

#[derive(Debug, clap::Args)]
pub(crate) struct Bench {
    /// A directory on the device that is meant; no cache. Files go to a fresh directory below it, which is removed.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// What all values take together.
    #[arg(
        long,
        allow_hyphen_values = true,
        value_name = "SIZE",
        default_value = "256MiB"
    )]
    bytes: ByteSize,
    /// One value. Range: 16 bytes to 64MiB, and no more than fits in a segment.
    #[arg(long, allow_hyphen_values = true, value_name = "SIZE", default_value = "4KiB", value_parser = value_size)]
    value: ByteSize,
    /// Threads that work at the same time. Range: 1 to 256.
    #[arg(long, allow_hyphen_values = true, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,
    /// Memory for values that were read; 1 is as good as none.
    #[arg(
        long,
        allow_hyphen_values = true,
        value_name = "SIZE",
        default_value = "64MiB"
    )]
    memory_tier: ByteSize,
    /// Repeat the operations of another run.
    #[arg(
        long,
        allow_hyphen_values = true,
        value_name = "N",
        default_value_t = 1
    )]
    seed: u64,
    #[command(flatten)]
    flags: Flags,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

fn value_size(text: &str) -> Result<ByteSize, String> {
    let size: ByteSize = text.parse().map_err(|error| format!("{error}"))?;
    match size.0 {
        16..=0x0400_0000 => Ok(size),
        _ => Err("choose from 16 to 64MiB".to_owned()),
    }
}

pub(crate) fn run(args: &Bench, call: &Call<'_>) -> Result<Exit, Failure> {
    must_be_no_cache(&args.dir)?;
    let made = tempfile::Builder::new()
        .prefix("perennial-bench-")
        .tempdir_in(&args.dir);
    let home = made.map_err(|error| Failure::file(&args.dir, error))?;
    let report = args.measure(home.path(), call);
    let removed = home
        .close()
        .map_err(|error| Failure::file(&args.dir, error));
    let report = report?;
    removed?;
    output::either(args.json, &report)?;
    match report.wrong() {
        0 => Ok(Exit::Fine),
        wrong => Err(Failure::Wrong(wrong)),
    }
}

fn must_be_no_cache(dir: &Path) -> Result<(), Failure> {
    match Place::look(dir) {
        Err(Failure::NoCache(_) | Failure::Strange(_)) => Ok(()),
        Err(Failure::Absent(dir)) => Err(Failure::Missing(dir)),
        Err(failure) => Err(failure),
        Ok(_) => Err(Failure::CacheOfSomebody(dir.to_owned())),
    }
}

impl Bench {
    fn measure(&self, home: &Path, call: &Call<'_>) -> Result<Report, Failure> {
        let config = call.config(&self.flags, &NewFlags::default(), None)?;
        let enough = self.bytes.0.saturating_mul(2).saturating_add(SLACK_BYTES);
        let capacity = config.capacity_said().map_or(enough, |said| said.value.0);
        let options = used_as(&config)
            .capacity_bytes(capacity)
            .memory_tier_bytes(self.memory_tier.0);
        let opened = Cache::open(home, storing(&config, options));
        let cache = opened.map_err(|error| config.refused(error, false))?;
        let values = Values::new(self.value.0, self.seed);
        let keys = (self.bytes.0 / self.value.0).max(1);
        let mut crew = Crew::new(&cache, &values, keys, self.threads, self.seed);
        let report = Report {
            keys,
            value_bytes: self.value.0,
            threads: self.threads,
            capacity_bytes: capacity,
            phases: crew.work_all(call)?,
        };
        cache.close()?;
        Ok(report)
    }
}
