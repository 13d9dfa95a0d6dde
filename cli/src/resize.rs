//! `perennial resize`: another capacity, now and for the commands to come.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use crate::call::Call;
use crate::config::{Flags, Remembered};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::open::{Target, must_suit_the_tail};
use crate::output;
use crate::place::Place;
use crate::size::ByteSize;

#[derive(Debug, clap::Args)]
pub(crate) struct Resize {
    /// The cache's directory.
    #[arg(value_name = "DIR")]
    cache: PathBuf,
    /// What all files may take together, such as 256MiB. Range: six segments and the tail, and at least
    /// twice the tail, to 4TiB.
    #[arg(value_name = "SIZE", allow_negative_numbers = true)]
    capacity: ByteSize,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Resized {
    capacity_bytes: u64,
    file_bytes: u64,
    entries: u64,
    evicted: u64,
}

impl fmt::Display for Resized {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "up to {} now; {} entries, {} evicted, files take {}",
            ByteSize(self.capacity_bytes),
            self.entries,
            self.evicted,
            ByteSize(self.file_bytes)
        )
    }
}

pub(crate) fn run(args: &Resize, call: &Call<'_>) -> Result<Exit, Failure> {
    let target = Target {
        cache: args.cache.clone(),
        flags: Flags::default(),
    };
    let place = Place::look(&args.cache)?;
    must_suit_the_tail(&place, args.capacity, || "SIZE".to_owned())?;
    let cache = target.open(call)?;
    // Before anything goes: a file that cannot be changed would bring the old capacity back.
    let remembered = Remembered::with(&args.cache, args.capacity)?;
    let spinner = call.spinner("resizing");
    cache.resize(args.capacity.0)?;
    drop(spinner);
    let stats = cache.stats();
    // While nobody else can resize it. A kill before this leaves a cache that has room it does not use, or takes it later.
    remembered.write(&args.cache)?;
    cache.close()?;
    let resized = Resized {
        capacity_bytes: args.capacity.0,
        file_bytes: stats.file_bytes,
        entries: stats.entries,
        evicted: stats.evicted,
    };
    output::either(args.json, &resized)?;
    Ok(Exit::Fine)
}
