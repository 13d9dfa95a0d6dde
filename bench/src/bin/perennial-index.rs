//! What the index alone takes of the memory: by its own word, by the allocator's, and resident.
//!
//! The allocator's number is what it was asked for and has not been given back, in the whole process; resident is what the
//! kernel counts as this process's own. Both are differences to what they were before the index was made, so what the
//! allocator wastes between its pieces is in the last one alone.

use std::io;

use clap::Parser;
use peak_alloc::PeakAlloc;
use perennial::BareIndex;

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// What the index takes of the memory, entry by entry.
#[derive(Debug, Parser)]
#[command(name = "perennial-index", version)]
struct Args {
    /// Entries at the end.
    #[arg(long, value_name = "N", default_value_t = 10_000_000)]
    entries: u64,
    /// Say what it takes after so many entries, and again after as many more.
    #[arg(long, value_name = "N", default_value_t = 500_000, value_parser = clap::value_parser!(u64).range(1..))]
    every: u64,
    /// Shards, as a power of two.
    #[arg(long, value_name = "LOG2", default_value_t = 8, value_parser = clap::value_parser!(u8).range(0..=12))]
    shards: u8,
    /// How often the filter may let an absent key pass.
    #[arg(long, value_name = "RATE", default_value_t = 0.01)]
    fp_rate: f64,
    /// Make room for all entries at first, as an open does, and say what it takes at the end only.
    #[arg(long)]
    reserved: bool,
    /// At the end remove a tenth of the keys, and say how long it takes to build a filter anew.
    #[arg(long)]
    rebuild: bool,
}

/// What the process has.
struct Memory {
    allocated: u64,
    resident: u64,
}

impl Memory {
    fn now() -> io::Result<Self> {
        Ok(Self {
            allocated: ALLOCATED.current_usage() as u64,
            resident: resident()?,
        })
    }
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    println!(
        "entries, bytes of each: the index says, allocated, resident; allocated at most since the line before"
    );
    let before = Memory::now()?;
    let index = BareIndex::new(args.shards, args.fp_rate);
    if args.reserved {
        index.reserve(usize::try_from(args.entries).unwrap_or(usize::MAX));
    }
    for number in 0..args.entries {
        if args.reserved {
            index.load(number);
        } else {
            index.insert(number);
        }
        let entries = number + 1;
        let asked = !args.reserved && entries.is_multiple_of(args.every);
        if asked || entries == args.entries {
            report(entries, &index, &before)?;
        }
    }
    if args.rebuild {
        rebuild(&args, &index)?;
    }
    Ok(())
}

fn rebuild(args: &Args, index: &BareIndex) -> io::Result<()> {
    // A little more than a tenth: shards differ.
    for number in (0..args.entries).step_by(8) {
        index.remove(number);
    }
    let before = time_on_a_processor()?;
    let filters = index.refresh_filters();
    let took = (time_on_a_processor()? - before) / 1000 / filters.max(1);
    println!("{filters} filters built anew, {took} us of a processor for each");
    Ok(())
}

/// In nanoseconds: other processes do not count.
fn time_on_a_processor() -> io::Result<u64> {
    let stat = std::fs::read_to_string("/proc/self/schedstat")?;
    let first = stat.split(' ').next().and_then(|first| first.parse().ok());
    first.ok_or_else(|| io::Error::other("no time in /proc/self/schedstat"))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "bytes and entries are far below 2^52"
)]
fn report(entries: u64, index: &BareIndex, before: &Memory) -> io::Result<()> {
    let now = Memory::now()?;
    let most = ALLOCATED.peak_usage() as u64;
    ALLOCATED.reset_peak_usage();
    let each = |bytes: u64| bytes as f64 / entries as f64;
    println!(
        "{entries:>9} {:6.2} {:6.2} {:6.2} {:6.2}",
        each(index.bytes() as u64),
        each(now.allocated.saturating_sub(before.allocated)),
        each(now.resident.saturating_sub(before.resident)),
        each(most.saturating_sub(before.allocated)),
    );
    Ok(())
}

/// Bytes of this process's own that are in memory.
fn resident() -> io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    Ok(kib.unwrap_or(0) << 10)
}
