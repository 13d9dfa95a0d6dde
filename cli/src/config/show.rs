//! `perennial config show`: each setting, and who said so.

use std::fmt;
use std::path::PathBuf;

use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use serde::Serialize;
use serde::ser::SerializeMap;

use super::{Config, Flags, NewFlags, Said, Source};
use crate::call::Call;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::open;
use crate::output;
use crate::place::Place;
use crate::size::ByteSize;

#[derive(Debug, clap::Args)]
pub(crate) struct Command {
    #[command(subcommand)]
    command: Commands,
}

#[derive(Debug, clap::Subcommand)]
enum Commands {
    /// Show each setting with its value and where that comes from: flag, environment, file, the cache or default.
    Show(Show),
}

#[derive(Debug, clap::Args)]
struct Show {
    /// The cache whose settings are meant. Default: those of a cache that is to be made.
    #[arg(value_name = "DIR")]
    cache: Option<PathBuf>,
    #[command(flatten)]
    flags: Flags,
    #[command(flatten)]
    new: NewFlags,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Command, call: &Call<'_>) -> Result<Exit, Failure> {
    let Commands::Show(show) = &args.command;
    let place = show.cache.as_deref().map(Place::look).transpose()?;
    let config = call.config(&show.flags, &show.new, show.cache.as_deref())?;
    output::either(show.json, &Shown(rows(&config, place.as_ref())))?;
    Ok(Exit::Fine)
}

struct Row {
    name: &'static str,
    said: Said<String>,
}

struct Shown(Vec<Row>);

fn rows(config: &Config, place: Option<&Place>) -> Vec<Row> {
    let capacity = match place {
        Some(place) => open::capacity(config, place),
        None => config.capacity(),
    };
    let (segment, tail, dir) = match place {
        Some(place) => fixed(place),
        None => chosen(config),
    };
    let row = |name, said| Row { name, said };
    vec![
        row("capacity", text(capacity, ByteSize::exact)),
        row("eviction", text(config.eviction(), |v| v.to_string())),
        row(
            "pinned_percent",
            text(config.pinned_percent(), |v| v.to_string()),
        ),
        row("compression", text(config.compression(), |v| v.to_string())),
        row("segment", segment),
        row("tail", tail),
        row("tail_dir", dir),
    ]
}

fn text<T>(said: Said<T>, show: impl Fn(T) -> String) -> Said<String> {
    Said {
        value: show(said.value),
        source: said.source,
    }
}

/// What was decided when the cache was made: nobody can say otherwise.
fn fixed(place: &Place) -> (Said<String>, Said<String>, Said<String>) {
    let of_the_cache = |value| Said {
        value,
        source: Source::Cache,
    };
    let identity = &place.identity;
    let size = |bytes: u64| of_the_cache(ByteSize(bytes).exact());
    let dir = identity.tail.dir.clone();
    (
        size(identity.segment_bytes.into()),
        size(identity.tail.ring_bytes),
        of_the_cache(dir.unwrap_or_else(|| BESIDE.to_owned())),
    )
}

const BESIDE: &str = "the cache's directory";
const BY_CAPACITY: &str = "by the capacity";

fn chosen(config: &Config) -> (Said<String>, Said<String>, Said<String>) {
    let size = |said: Option<Said<ByteSize>>| or_default(said, ByteSize::exact, BY_CAPACITY);
    let dir = or_default(config.tail_dir(), |dir| dir.display().to_string(), BESIDE);
    (size(config.segment()), size(config.tail()), dir)
}

fn or_default<T>(said: Option<Said<T>>, show: impl Fn(T) -> String, default: &str) -> Said<String> {
    let default = Said {
        value: default.to_owned(),
        source: Source::Default,
    };
    said.map_or(default, |said| text(said, show))
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table
            .load_style(UTF8_FULL_CONDENSED)
            .set_header(["setting", "value", "from"]);
        for row in &self.0 {
            table.add_row([row.name, &row.said.value, &row.said.source.to_string()]);
        }
        write!(f, "{table}")
    }
}

/// `{"capacity":{"value":"256MiB","from":"flag"},...}`
impl Serialize for Shown {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for Row { name, said } in &self.0 {
            map.serialize_entry(name, &Value::from(said))?;
        }
        map.end()
    }
}

#[derive(Serialize)]
struct Value<'a> {
    value: &'a str,
    from: String,
}

impl<'a> From<&'a Said<String>> for Value<'a> {
    fn from(said: &'a Said<String>) -> Self {
        Self {
            value: &said.value,
            from: said.source.to_string(),
        }
    }
}
