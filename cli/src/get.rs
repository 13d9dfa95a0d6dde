//! `perennial get`: the value of a key, on stdout as it is.

use std::ffi::OsString;
use std::ops::Range;
use std::str::FromStr;

use perennial::{ReadOnlyCache, Value};
use serde::Serialize;

use crate::call::Call;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::key::{KeyForm, shown};
use crate::open::Target;
use crate::output::{self, Out};

#[derive(Debug, clap::Args)]
pub(crate) struct Get {
    #[command(flatten)]
    target: Target,
    /// The key.
    key: OsString,
    #[command(flatten)]
    form: KeyForm,
    /// Only the bytes from START on, up to END, which is left out: 0..4096. A range that goes beyond the value is cut.
    #[arg(long, value_name = "START..END", allow_hyphen_values = true)]
    range: Option<Bytes>,
    /// Print one JSON document; the value is in it, escaped as keys are.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Bytes(Range<u64>);

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a range is two numbers of bytes, the first not larger, such as 0..4096")]
struct RangeError;

impl FromStr for Bytes {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        let (start, end) = text.split_once("..").ok_or(RangeError)?;
        let number = |text: &str| text.parse().map_err(|_| RangeError);
        let range = number(start)?..number(end)?;
        (range.start <= range.end)
            .then_some(Self(range))
            .ok_or(RangeError)
    }
}

#[derive(Debug, Serialize)]
struct Found {
    key: String,
    bytes: usize,
    value: String,
}

pub(crate) fn run(args: &Get, call: &Call<'_>) -> Result<Exit, Failure> {
    let key = args.form.bytes(&args.key)?;
    let cache = args.target.open_read_only(call)?;
    let value = match &args.range {
        Some(Bytes(range)) => cache.get_range(&key, range.clone())?,
        None => cache.get(&key)?,
    };
    let value = value.ok_or_else(|| why_not(&cache, &key))?;
    show(args, &key, &value)?;
    Ok(Exit::Fine)
}

/// Why the only read of this cache was a miss.
fn why_not(cache: &ReadOnlyCache, key: &[u8]) -> Failure {
    let (stats, key) = (cache.stats(), shown(key));
    if stats.damaged_reads > 0 {
        Failure::Damaged(key)
    } else if stats.codec_misses > 0 {
        Failure::NoCodec(key)
    } else if stats.read_errors > 0 {
        Failure::Unread(key)
    } else {
        Failure::NoKey(key)
    }
}

fn show(args: &Get, key: &[u8], value: &Value) -> Result<(), Failure> {
    if args.json {
        return output::json(&Found {
            key: shown(key),
            bytes: value.len(),
            value: shown(value),
        });
    }
    let mut out = Out::new();
    out.bytes(value)?;
    out.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_two_numbers_in_order() {
        assert_eq!("0..4096".parse(), Ok(Bytes(0..4096)));
        assert_eq!("7..7".parse(), Ok(Bytes(7..7)));
        for text in [
            "", "5", "..", "1..", "..9", "9..1", "a..b", "0...4", "-1..4",
        ] {
            assert_eq!(text.parse::<Bytes>(), Err(RangeError), "{text}");
        }
    }
}
