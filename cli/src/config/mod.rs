//! Where a setting comes from.
//!
//! ```text
//!   flag > environment (PERENNIAL_CAPACITY) > perennial.toml of the cache > file of the user > the cache itself > default
//! ```
//! The cache's own file is there because nothing else on disk says what a cache's capacity is: without it a `put` into a
//! cache of 8 GiB would open it with the default of 1 GiB, and drop the rest.

mod file;
mod settings;
pub(crate) mod show;
mod words;

use std::fmt;
use std::path::{Path, PathBuf};

use clap::ArgMatches;
use clap::parser::ValueSource;

pub(crate) use self::file::{OWN_NAMES, own_is_ours};
use self::settings::Settings;
pub(crate) use self::settings::{Compression, Eviction, Flags, NewFlags};
use crate::failure::Failure;
use crate::size::ByteSize;

/// What the library takes where nobody says anything.
const DEFAULT_CAPACITY: ByteSize = ByteSize(1 << 30);
const DEFAULT_PINNED_PERCENT: u8 = 25;

/// Who said it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    Flag,
    Environment,
    File(PathBuf),
    Cache,
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Environment => f.write_str("environment"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Cache => f.write_str("the cache"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value, and who said it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said<T> {
    pub(crate) value: T,
    pub(crate) source: Source,
}

/// All that was said, what counts most first.
#[derive(Debug, Clone)]
pub(crate) struct Config(Vec<(Source, Settings)>);

impl Config {
    /// Reads the files. `matches` are those of the command the flags belong to.
    pub(crate) fn gather(
        matches: &ArgMatches,
        flags: &Flags,
        new: &NewFlags,
        users: Option<&Path>,
        cache: Option<&Path>,
    ) -> Result<Self, Failure> {
        let given = |source| given(matches, source, flags, new);
        let mut layers = vec![
            (Source::Flag, given(ValueSource::CommandLine)),
            (Source::Environment, given(ValueSource::EnvVariable)),
        ];
        if let Some(cache) = cache {
            layers.push((Source::File(file::own_path(cache)), file::own(cache)?));
        }
        if let Some((path, settings)) = file::users(users)? {
            layers.push((Source::File(path), settings));
        }
        Ok(Self(layers))
    }

    fn first<T>(&self, get: impl Fn(&Settings) -> Option<T>) -> Option<Said<T>> {
        self.0.iter().find_map(|(source, settings)| {
            let source = source.clone();
            get(settings).map(|value| Said { value, source })
        })
    }

    fn or<T>(&self, get: impl Fn(&Settings) -> Option<T>, default: T) -> Said<T> {
        self.first(get).unwrap_or(Said {
            value: default,
            source: Source::Default,
        })
    }

    /// What was said of the capacity, if anything.
    pub(crate) fn capacity_said(&self) -> Option<Said<ByteSize>> {
        self.first(|s| s.capacity)
    }

    /// The capacity of a cache that is to be made.
    pub(crate) fn capacity(&self) -> Said<ByteSize> {
        self.or(|s| s.capacity, DEFAULT_CAPACITY)
    }

    pub(crate) fn eviction(&self) -> Said<Eviction> {
        self.or(|s| s.eviction, Eviction::S3Merge)
    }

    pub(crate) fn pinned_percent(&self) -> Said<u8> {
        self.or(|s| s.pinned_percent, DEFAULT_PINNED_PERCENT)
    }

    pub(crate) fn compression(&self) -> Said<Compression> {
        let none = Compression(perennial::Compression::None);
        self.or(|s| s.compression, none)
    }

    pub(crate) fn segment(&self) -> Option<Said<ByteSize>> {
        self.first(|s| s.segment)
    }

    pub(crate) fn tail(&self) -> Option<Said<ByteSize>> {
        self.first(|s| s.tail)
    }

    pub(crate) fn tail_dir(&self) -> Option<Said<PathBuf>> {
        self.first(|s| s.tail_dir.clone())
    }

    /// Makes the cache remember with what it was made: its capacity, and what else was chosen that its own files do not
    /// tell.
    pub(crate) fn remember(&self, cache: &Path) -> Result<(), Failure> {
        let mut lines = vec![("capacity", quoted(self.capacity().value.exact()))];
        if let Some(said) = self.first(|s| s.eviction) {
            lines.push(("eviction", quoted(said.value)));
        }
        if let Some(said) = self.first(|s| s.pinned_percent) {
            lines.push(("pinned_percent", said.value.to_string()));
        }
        if let Some(said) = self.first(|s| s.compression) {
            lines.push(("compression", quoted(said.value)));
        }
        file::write_own(cache, &file::own_text(&lines))
    }
}

fn quoted(value: impl fmt::Display) -> String {
    format!("\"{value}\"")
}

/// What makes the cache remember another capacity, once it is written.
#[must_use]
pub(crate) struct Remembered(String);

impl Remembered {
    pub(crate) fn with(cache: &Path, capacity: ByteSize) -> Result<Self, Failure> {
        file::own_with_capacity(cache, capacity).map(Self)
    }

    pub(crate) fn write(self, cache: &Path) -> Result<(), Failure> {
        file::write_own(cache, &self.0)
    }
}

/// What the command line, or the environment, says.
fn given(matches: &ArgMatches, source: ValueSource, flags: &Flags, new: &NewFlags) -> Settings {
    // Not every command has every flag.
    let is =
        |id: &str| matches.try_contains_id(id).is_ok() && matches.value_source(id) == Some(source);
    Settings {
        capacity: flags.capacity.filter(|_| is("capacity")),
        eviction: flags.eviction.filter(|_| is("eviction")),
        pinned_percent: flags.pinned_percent.filter(|_| is("pinned_percent")),
        compression: flags.compression.filter(|_| is("compression")),
        segment: new.segment.filter(|_| is("segment")),
        tail: new.tail.filter(|_| is("tail")),
        tail_dir: new.tail_dir.clone().filter(|_| is("tail_dir")),
    }
}
