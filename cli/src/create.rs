//! `perennial create`: the only command that makes a cache where there is none.

use std::fmt;
use std::path::PathBuf;

use perennial::{Cache, Options};
use serde::Serialize;

use crate::call::Call;
use crate::config::{Config, Flags, NewFlags};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::open::{storing, used_as};
use crate::output;
use crate::place::{self, Place};
use crate::size::ByteSize;

#[derive(Debug, clap::Args)]
pub(crate) struct Create {
    /// The directory: empty, or not there yet.
    #[arg(value_name = "DIR")]
    cache: PathBuf,
    #[command(flatten)]
    flags: Flags,
    #[command(flatten)]
    new: NewFlags,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

/// What was made.
#[derive(Debug, Serialize)]
struct Made {
    cache: String,
    capacity_bytes: u64,
    segment_bytes: u64,
    tail_bytes: u64,
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: up to {}, in segments of {}, with a tail of {}",
            self.cache,
            ByteSize(self.capacity_bytes),
            ByteSize(self.segment_bytes),
            ByteSize(self.tail_bytes)
        )
    }
}

pub(crate) fn run(args: &Create, call: &Call<'_>) -> Result<Exit, Failure> {
    place::must_be_free(&args.cache)?;
    let config = call.config(&args.flags, &args.new, None)?;
    Cache::open(&args.cache, options(&config))?.close()?;
    config.remember(&args.cache)?;
    let identity = Place::look(&args.cache)?.identity;
    let made = Made {
        cache: args.cache.display().to_string(),
        capacity_bytes: config.capacity().value.0,
        segment_bytes: identity.segment_bytes.into(),
        tail_bytes: identity.tail.ring_bytes,
    };
    output::either(args.json, &made)?;
    Ok(Exit::Fine)
}

fn options(config: &Config) -> Options {
    let options = used_as(config).capacity_bytes(config.capacity().value.0);
    // A cache that remembers a codec that this command lacks could be given no value.
    let mut options = storing(config, options);
    if let Some(segment) = config.segment() {
        options = options.segment_bytes(segment.value.0);
    }
    if let Some(tail) = config.tail() {
        options = options.tail_bytes(tail.value.0);
    }
    if let Some(dir) = config.tail_dir() {
        options = options.tail_dir(dir.value);
    }
    options
}
