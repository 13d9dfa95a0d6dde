//! `perennial del`: entries go, and stay gone.

use std::ffi::OsString;
use std::fmt;

use perennial::Cache;
use serde::Serialize;

use crate::call::Call;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::key::{KeyForm, shown};
use crate::open::Target;
use crate::output;

#[derive(Debug, clap::Args)]
pub(crate) struct Del {
    #[command(flatten)]
    target: Target,
    /// The keys. The status is 10 if one of them is not there; the others are removed.
    #[arg(value_name = "KEY", required_unless_present_any = ["prefix", "all"])]
    keys: Vec<OsString>,
    /// Remove every key that begins with this, which must not be empty.
    #[arg(long, value_name = "PREFIX", conflicts_with_all = ["keys", "all"])]
    prefix: Option<OsString>,
    /// Remove everything, at once.
    #[arg(long, conflicts_with = "keys")]
    all: bool,
    #[command(flatten)]
    form: KeyForm,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Default, Serialize)]
struct Gone {
    removed: u64,
    /// Keys that were not there.
    missing: Vec<String>,
}

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.removed {
            1 => f.write_str("1 entry removed"),
            many => write!(f, "{many} entries removed"),
        }
    }
}

pub(crate) fn run(args: &Del, call: &Call<'_>) -> Result<Exit, Failure> {
    let keys = args.keys.iter().map(|key| args.form.bytes(key));
    let keys = keys.collect::<Result<Vec<_>, _>>()?;
    let prefix = args.prefix.as_ref().map(|key| args.form.bytes(key));
    let prefix = prefix.transpose()?;
    // A variable of a script that is not set.
    if prefix.as_ref().is_some_and(Vec::is_empty) {
        return Err(Failure::EmptyPrefix);
    }
    let cache = args.target.open(call)?;
    let gone = match prefix {
        Some(prefix) => remove_prefix(&cache, &prefix, call)?,
        None if args.all => clear(&cache)?,
        None => remove_each(&cache, &keys)?,
    };
    cache.close()?;
    if args.json || args.keys.is_empty() {
        output::either(args.json, &gone)?;
    }
    match gone.missing.into_iter().next() {
        Some(key) => Err(Failure::NoKey(key)),
        None => Ok(Exit::Fine),
    }
}

fn remove_each(cache: &Cache, keys: &[Vec<u8>]) -> Result<Gone, Failure> {
    let mut gone = Gone::default();
    for key in keys {
        let there = cache.contains(key)?;
        // In any case: an entry that cannot be read now may be read again.
        cache.remove(key)?;
        if there {
            gone.removed += 1;
        } else {
            gone.missing.push(shown(key));
        }
    }
    Ok(gone)
}

fn remove_prefix(cache: &Cache, prefix: &[u8], call: &Call<'_>) -> Result<Gone, Failure> {
    let _spinner = call.spinner("removing");
    let removed = cache.remove_prefix(prefix)?;
    Ok(Gone {
        removed,
        ..Gone::default()
    })
}

fn clear(cache: &Cache) -> Result<Gone, Failure> {
    cache.clear()?;
    Ok(Gone {
        removed: cache.stats().cleared,
        ..Gone::default()
    })
}
