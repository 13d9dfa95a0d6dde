//! `perennial checkpoint`: the next open has nothing to replay.

use std::fmt;

use serde::Serialize;

use crate::call::Call;
use crate::clock::Stopwatch;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::open::Target;
use crate::output;

#[derive(Debug, clap::Args)]
pub(crate) struct Checkpoint {
    #[command(flatten)]
    target: Target,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Written {
    entries: u64,
    checkpoint_bytes: u64,
    ms: u128,
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "checkpoint of {} entries written in {} ms",
            self.entries, self.ms
        )
    }
}

pub(crate) fn run(args: &Checkpoint, call: &Call<'_>) -> Result<Exit, Failure> {
    let cache = args.target.open(call)?;
    let spinner = call.spinner("writing a checkpoint");
    let watch = Stopwatch::start();
    cache.checkpoint()?;
    let ms = watch.elapsed().as_millis();
    drop(spinner);
    let stats = cache.stats();
    cache.close()?;
    let written = Written {
        entries: stats.entries,
        checkpoint_bytes: stats.checkpoint_bytes,
        ms,
    };
    output::either(args.json, &written)?;
    Ok(Exit::Fine)
}
