//! `perennial stat`: a cache in a few lines, also while another process has it open.

mod watch;

use std::collections::BTreeMap;
use std::fmt;

use perennial::Inspection;
use serde::Serialize;

use crate::call::Call;
use crate::config::NewFlags;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::open::{self, Target};
use crate::output;
use crate::place::Place;
use crate::size::ByteSize;
use watch::Watch;

#[derive(Debug, clap::Args)]
pub(crate) struct Stat {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    watch: Watch,
    /// Print one JSON document; with --watch one a line.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Summary {
    cache_id: String,
    /// What this command would open it with.
    capacity_bytes: u64,
    /// What segments and tail take, the tail only where it is in the cache's directory.
    file_bytes: u64,
    segment_bytes: u64,
    /// Segment files in each state.
    segments: BTreeMap<String, u64>,
    frames: u64,
    frame_bytes: u64,
    tail_bytes: u64,
    /// Up to where the log is on stable storage: a position in bytes.
    stable: u64,
    /// Entries in the newest checkpoint; what came behind it is not counted.
    checkpoint_entries: Option<u64>,
}

pub(crate) fn run(args: &Stat, call: &Call<'_>) -> Result<Exit, Failure> {
    if args.watch.is_wanted() {
        return watch::run(args, call);
    }
    output::either(args.json, &look(args, call)?)?;
    Ok(Exit::Fine)
}

fn look(args: &Stat, call: &Call<'_>) -> Result<Summary, Failure> {
    let path = &args.target.cache;
    let place = Place::look(path)?;
    let config = call.config(&args.target.flags, &NewFlags::default(), Some(path))?;
    let inspection = perennial::inspect(path)?;
    let capacity = open::capacity(&config, &place);
    Ok(Summary::of(&inspection, &place, capacity.value))
}

impl Summary {
    fn of(inspection: &Inspection, place: &Place, capacity: ByteSize) -> Self {
        let segments = &inspection.segments;
        let mut states = BTreeMap::new();
        for segment in segments {
            *states.entry(segment.state.to_string()).or_default() += 1;
        }
        Self {
            cache_id: inspection.cache_id.clone(),
            capacity_bytes: capacity.0,
            file_bytes: place.segment_files * inspection.segment_bytes + place.tail_bytes,
            segment_bytes: inspection.segment_bytes,
            segments: states,
            frames: segments.iter().map(|segment| segment.frames).sum(),
            frame_bytes: segments.iter().map(|segment| segment.bytes).sum(),
            tail_bytes: inspection.tail.ring_bytes,
            stable: inspection.tail.stable,
            checkpoint_entries: inspection.checkpoint.as_ref().map(|c| c.entries),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let states = self.segments.iter();
        let states: Vec<_> = states.map(|(state, n)| format!("{n} {state}")).collect();
        writeln!(f, "cache {}", self.cache_id)?;
        writeln!(
            f,
            "files take {} of {}; a tail of {}",
            ByteSize(self.file_bytes),
            ByteSize(self.capacity_bytes),
            ByteSize(self.tail_bytes)
        )?;
        writeln!(
            f,
            "segments of {}: {}; {} frames, {}",
            ByteSize(self.segment_bytes),
            states.join(", "),
            self.frames,
            ByteSize(self.frame_bytes)
        )?;
        match self.checkpoint_entries {
            Some(entries) => write!(f, "newest checkpoint: {entries} entries"),
            None => write!(f, "no checkpoint"),
        }
    }
}
