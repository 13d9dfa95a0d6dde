//! `perennial export`: the live entries as one stream.

use std::error::Error as _;
use std::fmt;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use perennial::{ReadOnlyCache, ReadOnlyStats};
use serde::Serialize;

use crate::call::Call;
use crate::destination::Destination;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::open::Target;
use crate::output;
use crate::size::ByteSize;
use crate::stream::Writer;

#[derive(Debug, clap::Args)]
pub(crate) struct Export {
    #[command(flatten)]
    target: Target,
    /// Write to this file, which appears whole or not at all; `-` is stdout. A device or a pipe is written into, and a link
    /// followed. Default: stdout.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print one JSON document, which needs --output: stdout has the stream otherwise.
    #[arg(long, requires = "output")]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Exported {
    entries: u64,
    bytes: u64,
}

impl fmt::Display for Exported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} entries exported, {}",
            self.entries,
            ByteSize(self.bytes)
        )
    }
}

pub(crate) fn run(args: &Export, call: &Call<'_>) -> Result<Exit, Failure> {
    let output = args
        .output
        .as_deref()
        .filter(|path| *path != Path::new("-"));
    if output.is_none() && args.json {
        return Err(Failure::BesideTheStream);
    }
    if output.is_none() && io::stdout().is_terminal() {
        return Err(Failure::Terminal);
    }
    let cache = args.target.open_read_only(call)?;
    let exported = match output {
        Some(path) => to_file(&cache, path, call)?,
        None => to_stdout(&cache, call)?,
    };
    let stats = cache.stats();
    if output.is_some() {
        output::either(args.json, &exported)?;
    }
    nothing_is_left_out(&stats)?;
    Ok(Exit::Fine)
}

fn to_stdout(cache: &ReadOnlyCache, call: &Call<'_>) -> Result<Exported, Failure> {
    // Who goes away before the end has half a stream: an error, unlike for a list of keys.
    write_to(cache, io::stdout().lock(), call, &Failure::Output)
}

fn to_file(cache: &ReadOnlyCache, path: &Path, call: &Call<'_>) -> Result<Exported, Failure> {
    // Without the name of a temporary file, which nobody knows.
    let failed = |error: io::Error| Failure::file(path, plain(error));
    let mut destination = Destination::open(path).map_err(failed)?;
    let exported = write_to(cache, &mut destination, call, &failed)?;
    destination.finish().map_err(failed)?;
    Ok(exported)
}

fn write_to(
    cache: &ReadOnlyCache,
    to: impl Write,
    call: &Call<'_>,
    failed: &dyn Fn(io::Error) -> Failure,
) -> Result<Exported, Failure> {
    let progress = call.counter("exporting");
    let mut writer = Writer::new(BufWriter::with_capacity(1 << 20, to)).map_err(failed)?;
    for key in cache.keys() {
        // One that is not there any more has ended, was reclaimed, or is damaged and counted.
        if let Some(entry) = cache.entry(&key)? {
            writer.add(&key, &entry).map_err(failed)?;
            progress.add(1);
        }
    }
    let entries = writer.entries();
    let bytes = writer.finish().map_err(failed)?;
    Ok(Exported { entries, bytes })
}

/// The system's error, without the path that was put around it.
pub(crate) fn plain(error: io::Error) -> io::Error {
    let inner = error.source().and_then(|inner| inner.downcast_ref());
    let code = inner.and_then(io::Error::raw_os_error);
    code.map_or(error, io::Error::from_raw_os_error)
}

/// The stream is whole, but the cache was not.
fn nothing_is_left_out(stats: &ReadOnlyStats) -> Result<(), Failure> {
    let damaged = stats.damaged_reads;
    match (damaged + stats.read_errors, stats.codec_misses) {
        (0, 0) => Ok(()),
        (0, by_codec) => Err(Failure::LeftOutByCodec(by_codec)),
        (left_out, _) => Err(Failure::LeftOut { left_out, damaged }),
    }
}
