//! `perennial create`: makes a cache where there is none. No other command does that for its user; the bench and the demo make
//! some of their own.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use perennial::{Cache, Options};
use perennial_failpoints::StdFs;
use perennial_failpoints::fs::Fs;
use serde::Serialize;

use crate::call::Call;
use crate::config::{Config, Flags, NewFlags};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::open::{storing, used_as};
use crate::output;
use crate::place::{self, Free, Place};
use crate::size::ByteSize;
use crate::traces::Traces;

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
    let free = place::must_be_free(&args.cache)?;
    let config = call.config(&args.flags, &args.new, None)?;
    let tail_dir = config.tail_dir().map(|said| said.value);
    let traces = Traces::none_yet(&args.cache, tail_dir.as_deref());
    if let Err(failure) = make(&args.cache, &config, tail_dir.as_deref()) {
        // A cache that was begun is left as it was found, or a step further.
        if free == Free::Empty {
            traces.remove();
        }
        return Err(failure);
    }
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

/// First what the cache is to remember: a kill leaves nothing that the next command opens in another way, and `create` can be
/// repeated.
fn make(cache: &Path, config: &Config, tail_dir: Option<&Path>) -> Result<(), Failure> {
    if let Some(dir) = tail_dir {
        can_be_written(dir).map_err(|error| Failure::file(dir, error))?;
    }
    let made = StdFs.create_dir_all(cache);
    made.map_err(|error| Failure::file(cache, error))?;
    config.remember(cache)?;
    let made = Cache::open(cache, options(config));
    made.map_err(|error| config.refused(error, false))?
        .close()?;
    Ok(())
}

fn can_be_written(dir: &Path) -> io::Result<()> {
    if dir.exists() && !dir.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    StdFs.create_dir_all(dir)?;
    tempfile::tempfile_in(dir)?;
    Ok(())
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
