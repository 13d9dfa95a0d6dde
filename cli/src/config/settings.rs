//! What can be set, and in what words.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::ValueEnum;
use serde::Deserialize;

use crate::size::ByteSize;

const SETTINGS: &str = "Settings";
const NEW: &str = "Settings of a new cache";

/// What one place says. In a file the names are these, and no others are allowed.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) capacity: Option<ByteSize>,
    pub(crate) eviction: Option<Eviction>,
    pub(crate) pinned_percent: Option<u8>,
    pub(crate) compression: Option<Compression>,
    pub(crate) segment: Option<ByteSize>,
    pub(crate) tail: Option<ByteSize>,
    pub(crate) tail_dir: Option<PathBuf>,
}

/// How the cache is used; whoever opens it may say otherwise.
#[derive(Debug, Default, Clone, clap::Args)]
pub(crate) struct Flags {
    /// What all files of the cache may take together, such as 256MiB. No command but `resize` makes a cache smaller: less
    /// than its files take now is raised to that. Default: what the cache was made with, or 1GiB. Range: about 60KiB to 4TiB.
    #[arg(
        long,
        value_name = "SIZE",
        allow_hyphen_values = true,
        env = "PERENNIAL_CAPACITY",
        hide_env_values = true,
        help_heading = SETTINGS
    )]
    pub(crate) capacity: Option<ByteSize>,
    /// What goes when room is needed. Default: s3-merge.
    #[arg(
        long,
        value_name = "POLICY",
        allow_hyphen_values = true,
        env = "PERENNIAL_EVICTION",
        hide_env_values = true,
        help_heading = SETTINGS
    )]
    pub(crate) eviction: Option<Eviction>,
    /// What pinned entries may take of the capacity, in percent. Default: 25. Range: 0 to 35.
    #[arg(
        long,
        value_name = "PERCENT",
        allow_hyphen_values = true,
        env = "PERENNIAL_PINNED_PERCENT",
        hide_env_values = true,
        help_heading = SETTINGS
    )]
    pub(crate) pinned_percent: Option<u8>,
    /// How new values are stored: none, lz4, zstd or zstd:LEVEL. Default: none. Range: what this command was built with.
    #[arg(
        long,
        value_name = "CODEC",
        allow_hyphen_values = true,
        env = "PERENNIAL_COMPRESSION",
        hide_env_values = true,
        help_heading = SETTINGS
    )]
    pub(crate) compression: Option<Compression>,
}

/// What is decided once, when the cache is made.
#[derive(Debug, Default, Clone, clap::Args)]
pub(crate) struct NewFlags {
    /// One segment file: the unit of eviction, and the upper bound of an entry. Default: 64MiB, or less so that there are at
    /// least 32. Range: 8KiB to 64MiB, a multiple of 4KiB.
    #[arg(
        long,
        value_name = "SIZE",
        allow_hyphen_values = true,
        env = "PERENNIAL_SEGMENT",
        hide_env_values = true,
        help_heading = NEW
    )]
    pub(crate) segment: Option<ByteSize>,
    /// The ring that inserts go to first. Default: 64MiB or an eighth of the capacity, whichever is less. Range: 4KiB to
    /// 1GiB, at most half of the capacity.
    #[arg(
        long,
        value_name = "SIZE",
        allow_hyphen_values = true,
        env = "PERENNIAL_TAIL",
        hide_env_values = true,
        help_heading = NEW
    )]
    pub(crate) tail: Option<ByteSize>,
    /// Another directory for that ring, such as one on tmpfs. Default: the cache's own.
    #[arg(
        long,
        value_name = "DIR",
        env = "PERENNIAL_TAIL_DIR",
        hide_env_values = true,
        help_heading = NEW
    )]
    pub(crate) tail_dir: Option<PathBuf>,
}

/// The library's policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Eviction {
    /// What was read is kept, and goes in the order of a hand.
    S3Merge,
    /// In the order of insertion, but what was read goes to the head again.
    Clock,
    /// In the order of insertion.
    Fifo,
}

impl From<Eviction> for perennial::Eviction {
    fn from(eviction: Eviction) -> Self {
        match eviction {
            Eviction::S3Merge => Self::S3Merge,
            Eviction::Clock => Self::Clock,
            Eviction::Fifo => Self::Fifo,
        }
    }
}

impl fmt::Display for Eviction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::S3Merge => "s3-merge",
            Self::Clock => "clock",
            Self::Fifo => "fifo",
        })
    }
}

/// `none`, `lz4`, `zstd` (level 1) or `zstd:LEVEL`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Compression(pub(crate) perennial::Compression);

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("choose none, lz4, zstd, or zstd:LEVEL with a level from 1 to 22")]
pub(crate) struct CodecError;

impl FromStr for Compression {
    type Err = CodecError;

    fn from_str(text: &str) -> Result<Self, CodecError> {
        use perennial::Compression::{Lz4, None, Zstd};
        match text.split_once(':') {
            Option::None if text == "none" => Ok(Self(None)),
            Option::None if text == "lz4" => Ok(Self(Lz4)),
            Option::None if text == "zstd" => Ok(Self(Zstd(1))),
            Some(("zstd", level)) => match level.parse() {
                Ok(level @ 1..=22) => Ok(Self(Zstd(level))),
                _ => Err(CodecError),
            },
            _ => Err(CodecError),
        }
    }
}

impl TryFrom<String> for Compression {
    type Error = CodecError;

    fn try_from(text: String) -> Result<Self, CodecError> {
        text.parse()
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            perennial::Compression::Lz4 => f.write_str("lz4"),
            perennial::Compression::Zstd(level) => write!(f, "zstd:{level}"),
            _ => f.write_str("none"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codecs_are_shown_as_they_are_read() {
        for text in ["none", "lz4", "zstd:1", "zstd:22"] {
            assert_eq!(text.parse::<Compression>().unwrap().to_string(), text);
        }
        assert_eq!("zstd".parse::<Compression>(), "zstd:1".parse());
        for text in ["", "gzip", "lz4:3", "zstd:", "zstd:0", "zstd:23", "LZ4"] {
            assert_eq!(text.parse::<Compression>(), Err(CodecError), "{text}");
        }
    }
}
