//! What can go wrong, and the exit status a script sees for it.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::process::{ExitCode, ExitStatus};

use perennial::ErrorKind;

use crate::escape::EscapeError;
use crate::stream::{ReadError, StreamError};

/// The exit status; clap itself ends with 2 for wrong usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Fine = 0,
    Failed = 1,
    Usage = 2,
    Damage = 3,
    Missing = 10,
    Locked = 11,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{} does not exist", .0.display())]
    Missing(PathBuf),
    #[error("{dir} holds no cache; make one with `perennial create {dir}`", dir = .0.display())]
    NoCache(PathBuf),
    #[error("{} is not a directory; name a cache's directory", .0.display())]
    NoDirectory(PathBuf),
    #[error("{} holds something that is not a cache; name a cache's directory, or an empty one for a new cache", .0.display())]
    Strange(PathBuf),
    #[error("{} holds a cache already; use it, or name another directory", .0.display())]
    Exists(PathBuf),
    #[error("the key {0} is not in the cache")]
    NoKey(String),
    #[error("the cache has no segment {0}; `perennial inspect` lists those it has")]
    NoSegment(u64),
    #[error("the entry of {0} is damaged; store it again, and see what `perennial verify` says")]
    Damaged(String),
    #[error("the entry of {0} cannot be read: the device refuses; run again with -v for why")]
    Unread(String),
    #[error(
        "the value of {0} is compressed by a codec that this command was built without; build it with --features lz4,zstd"
    )]
    NoCodec(String),
    #[error("the cache does not keep {key}: {why}")]
    Rejected { key: String, why: &'static str },
    #[error("the key {text} cannot be read: {error}")]
    Escape { text: String, error: EscapeError },
    #[error("the stream is no text: send it to a file or another command, or name a file")]
    Terminal,
    #[error("{} holds a cache, and the bench makes one of its own; name another directory on that device", .0.display())]
    CacheOfSomebody(PathBuf),
    #[error("{0} reads gave a wrong value; keep the machine as it is, and report this")]
    Wrong(u64),
    #[error("an operation took longer than can be counted")]
    Histogram,
    #[error("it was sound, and has changed while it was read")]
    Changed,
    #[error("{from}: {error}; nothing was imported")]
    Stream { from: String, error: StreamError },
    #[error(
        "{from}: the entry at offset {at} has {bytes} bytes, and no segment of this cache more than {segment_bytes}; nothing was imported, make a cache with larger segments"
    )]
    NoSegmentHolds {
        from: String,
        at: u64,
        bytes: u64,
        segment_bytes: u64,
    },
    #[error(
        "{from}: the entry at offset {at} was not stored: {why}; {done} before it are in the cache"
    )]
    Half {
        from: String,
        at: u64,
        done: u64,
        why: Box<Failure>,
    },
    #[error(
        "{left_out} entries cannot be read and are not in the stream, which is whole otherwise; see `perennial verify`, and -v for why"
    )]
    LeftOut { left_out: u64, damaged: u64 },
    #[error("{}, line {line}: {what}", path.display())]
    Setting {
        path: PathBuf,
        line: usize,
        what: String,
    },
    #[error("{} is not empty: the demo makes a cache of its own, give it an empty or absent directory", .0.display())]
    NotEmpty(PathBuf),
    #[error("there is no readable file below {}", .0.display())]
    NothingToCache(PathBuf),
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Cache(#[from] perennial::Error),
    #[error("the demo's child could not be started: {0}")]
    Start(io::Error),
    #[error("the demo's child ended by itself: {0}")]
    ChildEnded(ExitStatus),
    #[error("the demo's child said what no child says: message {0:02x?}")]
    Message([u8; 24]),
    #[error("the demo's parent and child no longer reach each other: {0}")]
    Pipe(io::Error),
    #[error("output: {0}")]
    Output(io::Error),
    /// `| head` has seen enough.
    #[error("nobody reads the output")]
    ReaderGone,
    #[error("input: {0}")]
    Input(io::Error),
    #[error("JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl Failure {
    pub(crate) fn file(path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::File {
            path: path.into(),
            source,
        }
    }

    pub(crate) fn stream(from: &str, error: ReadError) -> Self {
        let from = from.to_owned();
        match error {
            ReadError::Stream(error) => Self::Stream { from, error },
            ReadError::Io(source) => Self::file(from, source),
        }
    }

    /// Why an import ends in its middle.
    pub(crate) fn after(self, from: &str, at: u64, done: u64) -> Self {
        Self::Half {
            from: from.to_owned(),
            at,
            done,
            why: Box::new(self),
        }
    }

    /// Of stdout: who closed it wanted no more.
    pub(crate) fn output(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ReaderGone,
            _ => Self::Output(error),
        }
    }

    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Missing(_) | Self::NoCache(_) | Self::NoKey(_) | Self::NoSegment(_) => {
                Exit::Missing
            }
            Self::Damaged(_) | Self::Wrong(_) => Exit::Damage,
            Self::Stream { error, .. } => of_stream(*error),
            Self::LeftOut { damaged: 1.., .. } => Exit::Damage,
            // What was called was right; what was in the stream was not.
            Self::Half { why, .. } if why.exit() == Exit::Usage => Exit::Failed,
            Self::Half { why, .. } => why.exit(),
            Self::Terminal => Exit::Usage,
            Self::Setting { .. } | Self::Escape { .. } => Exit::Usage,
            Self::ReaderGone => Exit::Fine,
            Self::Cache(error) => of_cache(error.kind(), error),
            _ => Exit::Failed,
        }
    }
}

/// What never was one of our streams is no damage.
fn of_stream(error: StreamError) -> Exit {
    match error {
        StreamError::Foreign | StreamError::Version(_) => Exit::Failed,
        _ => Exit::Damage,
    }
}

fn of_cache(kind: ErrorKind, error: &dyn Error) -> Exit {
    match kind {
        ErrorKind::Locked => Exit::Locked,
        ErrorKind::Corrupt => Exit::Damage,
        // A value out of range: directories that hold something else are refused before the library sees them.
        ErrorKind::Invalid => Exit::Usage,
        ErrorKind::Io if comes_from_not_found(error) => Exit::Missing,
        _ => Exit::Failed,
    }
}

fn comes_from_not_found(error: &dyn Error) -> bool {
    let mut next = error.source();
    while let Some(cause) = next {
        if cause
            .downcast_ref::<io::Error>()
            .is_some_and(|io| io.kind() == io::ErrorKind::NotFound)
        {
            return true;
        }
        next = cause.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("segment 000017 cannot be read")]
    struct Outer(#[source] io::Error);

    #[test]
    fn each_kind_has_its_status() {
        let absent = Outer(io::ErrorKind::NotFound.into());
        let refused = Outer(io::ErrorKind::PermissionDenied.into());
        for (kind, error, exit) in [
            (ErrorKind::Locked, &refused, Exit::Locked),
            (ErrorKind::Corrupt, &refused, Exit::Damage),
            (ErrorKind::Io, &refused, Exit::Failed),
            (ErrorKind::Io, &absent, Exit::Missing),
            (ErrorKind::Invalid, &absent, Exit::Usage),
        ] {
            assert_eq!(of_cache(kind, error), exit, "{kind:?} {error:?}");
        }
    }

    #[test]
    fn a_missing_directory_is_not_just_an_error() {
        assert_eq!(Failure::Missing("x".into()).exit() as u8, 10);
        assert_eq!(Failure::NoKey("x".into()).exit() as u8, 10);
        assert_eq!(Failure::NotEmpty("x".into()).exit() as u8, 1);
    }
}
