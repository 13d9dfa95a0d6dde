//! `perennial put`: one entry.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use perennial::{InsertOptions, Inserted, Rejection};
use serde::Serialize;

use crate::call::Call;
use crate::duration::Span;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::key::{KeyForm, shown};
use crate::open::Target;
use crate::output;

/// No segment holds more; one byte beyond is read, and the library refuses it.
const MOST_BYTES: u64 = 64 << 20;

#[derive(Debug, clap::Args)]
pub(crate) struct Put {
    #[command(flatten)]
    target: Target,
    /// The key: 1 to 65,535 bytes.
    key: OsString,
    /// The value; `-` reads it from stdin. One that begins with `-` goes behind `--`.
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    value: Option<OsString>,
    /// Read the value from a file.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    form: KeyForm,
    /// The entry is there for so long, such as 90s, 15m, 12h or 7d. Default: for ever.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    ttl: Option<Span>,
    /// What it is worth when room is needed.
    #[arg(long, value_enum, default_value_t = Priority::Normal)]
    priority: Priority,
    /// Sync the entry by itself, before the cache is closed. Without it the close does that.
    #[arg(long)]
    durable: bool,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

/// The library's priorities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Priority {
    /// Never kept when its segment is reclaimed.
    Low,
    /// What the policy thinks of it.
    Normal,
    /// Never evicted, up to a share of the capacity.
    Pinned,
}

impl From<Priority> for perennial::Priority {
    fn from(priority: Priority) -> Self {
        match priority {
            Priority::Low => Self::Low,
            Priority::Normal => Self::Normal,
            Priority::Pinned => Self::Pinned,
        }
    }
}

#[derive(Debug, Serialize)]
struct Stored {
    key: String,
    bytes: usize,
}

pub(crate) fn run(args: &Put, call: &Call<'_>) -> Result<Exit, Failure> {
    let key = args.form.bytes(&args.key)?;
    let value = args.read_value()?;
    let cache = args.target.open_to_store(call)?;
    let inserted = cache.insert_with(&key, &value, args.options())?;
    cache.close()?;
    must_be_stored(&key, inserted)?;
    if args.json {
        let (key, bytes) = (shown(&key), value.len());
        output::json(&Stored { key, bytes })?;
    }
    Ok(Exit::Fine)
}

impl Put {
    fn read_value(&self) -> Result<Vec<u8>, Failure> {
        match (&self.file, &self.value) {
            (Some(path), _) => read_file(path),
            (None, Some(value)) if value == "-" => {
                read_all(io::stdin().lock()).map_err(Failure::Input)
            }
            (None, Some(value)) => Ok(value.as_bytes().to_vec()),
            (None, None) => Ok(Vec::new()),
        }
    }

    fn options(&self) -> InsertOptions {
        let options = InsertOptions::new()
            .priority(self.priority.into())
            .durable(self.durable);
        match self.ttl {
            Some(ttl) => options.ttl(ttl.0),
            None => options,
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a file of the caller's")]
fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Failure::Missing(path.to_owned()),
        _ => Failure::file(path, error),
    };
    File::open(path).and_then(read_all).map_err(failed)
}

fn read_all(from: impl Read) -> io::Result<Vec<u8>> {
    let mut value = Vec::new();
    from.take(MOST_BYTES + 1).read_to_end(&mut value)?;
    Ok(value)
}

pub(crate) fn must_be_stored(key: &[u8], inserted: Inserted) -> Result<(), Failure> {
    let why = match inserted {
        Inserted::Stored => return Ok(()),
        Inserted::Rejected(Rejection::PinnedFull) => {
            "pinned entries have all of their share; unpin some, or raise --pinned-percent"
        }
        Inserted::Rejected(_) => "there is no room for it now; try again",
        _ => "nobody knows why; see the log with -vv",
    };
    let key = shown(key);
    Err(Failure::Rejected { key, why })
}
