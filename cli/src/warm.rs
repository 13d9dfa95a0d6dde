//! `perennial warm`: entries are read, so that who opens the cache next finds them in memory.

use std::fmt;

use serde::Serialize;

use crate::call::Call;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::open::Target;
use crate::output;
use crate::size::ByteSize;

#[derive(Debug, clap::Args)]
pub(crate) struct Warm {
    #[command(flatten)]
    target: Target,
    /// Read no more once keys and values have come to so much. Default: all.
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    bytes: Option<ByteSize>,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Default, Serialize)]
struct Warmed {
    entries: u64,
    bytes: u64,
    /// Entries of the cache that were not read, because of the limit, or because they are damaged or were reclaimed meanwhile.
    left: u64,
    /// Of these, those that cannot be read, because of damage or of the device.
    unreadable: u64,
}

impl fmt::Display for Warmed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} entries read, {}; {} left",
            self.entries,
            ByteSize(self.bytes),
            self.left
        )?;
        match self.unreadable {
            0 => Ok(()),
            some => write!(f, ", {some} cannot be read"),
        }
    }
}

pub(crate) fn run(args: &Warm, call: &Call<'_>) -> Result<Exit, Failure> {
    let cache = args.target.open_read_only(call)?;
    let limit_bytes = args.bytes.map_or(u64::MAX, |bytes| bytes.0);
    let progress = call.counter("warming");
    let mut warmed = Warmed::default();
    for key in cache.keys() {
        if warmed.bytes >= limit_bytes {
            break;
        }
        if let Some(entry) = cache.entry(&key)? {
            warmed.entries += 1;
            warmed.bytes += (key.len() + entry.value.len()) as u64;
            progress.add(1);
        }
    }
    drop(progress);
    let stats = cache.stats();
    let damaged = stats.damaged_reads;
    warmed.unreadable = damaged + stats.read_errors;
    // One that is damaged may count no more.
    let left = stats.entries.saturating_sub(warmed.entries);
    warmed.left = left.max(warmed.unreadable);
    output::either(args.json, &warmed)?;
    match warmed.unreadable {
        0 => Ok(Exit::Fine),
        unreadable => Err(Failure::LeftCold {
            unreadable,
            damaged,
        }),
    }
}
