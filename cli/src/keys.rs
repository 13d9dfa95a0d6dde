//! `perennial keys`: what is in the cache, a line each.

use std::ffi::OsString;
use std::io::{self, IsTerminal};

use perennial::ReadOnlyCache;

use crate::call::Call;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::key::{KeyForm, shown};
use crate::open::Target;
use crate::output::Out;
use crate::progress::Progress;

#[derive(Debug, clap::Args)]
pub(crate) struct Keys {
    #[command(flatten)]
    target: Target,
    /// Only keys that begin with this.
    #[arg(long, value_name = "PREFIX", default_value = "")]
    prefix: OsString,
    #[command(flatten)]
    form: KeyForm,
    /// No more than so many. Default: all.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// In the order of their bytes; takes a pass over the cache for each 8MiB of keys. Default: in no order.
    #[arg(long)]
    sort: bool,
    /// Print one JSON document; the keys are in it as they are shown.
    #[arg(long)]
    json: bool,
}

type Listed = Result<Box<[u8]>, perennial::Error>;

pub(crate) fn run(args: &Keys, call: &Call<'_>) -> Result<Exit, Failure> {
    let prefix = args.form.bytes(&args.prefix)?;
    let cache = args.target.open_read_only(call)?;
    let limit = args
        .limit
        .map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
    let progress = progress(call);
    let keys = listed(&cache, prefix, args.sort);
    let keys = keys.take(limit).inspect(|_| progress.add(1));
    if args.json {
        document(keys)?;
    } else {
        lines(keys)?;
    }
    drop(progress);
    Ok(Exit::Fine)
}

/// Not where the keys themselves go by.
fn progress(call: &Call<'_>) -> Progress {
    if io::stdout().is_terminal() {
        Progress::none()
    } else {
        call.counter("listing")
    }
}

fn listed(
    cache: &ReadOnlyCache,
    prefix: Vec<u8>,
    sort: bool,
) -> Box<dyn Iterator<Item = Listed> + '_> {
    if sort {
        return Box::new(cache.scan_prefix(prefix));
    }
    let keys = cache.keys().filter(move |key| key.starts_with(&prefix));
    Box::new(keys.map(Ok))
}

fn lines(keys: impl Iterator<Item = Listed>) -> Result<(), Failure> {
    let mut out = Out::new();
    for key in keys {
        out.text(format_args!("{}\n", shown(&key?)))?;
    }
    out.finish()
}

/// Key by key: there may be more than fit in memory.
fn document(keys: impl Iterator<Item = Listed>) -> Result<(), Failure> {
    let mut out = Out::new();
    out.text("{\"keys\":[")?;
    let mut count: u64 = 0;
    for key in keys {
        let comma = if count == 0 { "" } else { "," };
        let key = serde_json::to_string(&shown(&key?))?;
        out.text(format_args!("{comma}{key}"))?;
        count += 1;
    }
    out.text(format_args!("],\"count\":{count}}}\n"))?;
    out.finish()
}
