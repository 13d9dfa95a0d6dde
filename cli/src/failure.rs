//! What can go wrong: each a sentence that says what to do.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use crate::escape::EscapeError;
use crate::stream::{ReadError, StreamError};

#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    // A directory that is not what it should be.
    #[error("{dir} does not exist; make a cache there with `perennial create {dir}`", dir = .0.display())]
    Absent(PathBuf),
    #[error("{dir} holds no cache; make one with `perennial create {dir}`", dir = .0.display())]
    NoCache(PathBuf),
    #[error("{} is not a directory; name a cache's directory", .0.display())]
    NoDirectory(PathBuf),
    #[error("{} holds something that is not a cache; name a cache's directory, or an empty one for a new cache", .0.display())]
    Strange(PathBuf),
    #[error("{} holds a cache already; use it, or name another directory", .0.display())]
    Exists(PathBuf),
    #[error("{} holds a cache, and the bench makes one of its own; name another directory on that device", .0.display())]
    CacheOfSomebody(PathBuf),
    #[error("{} is not empty: the demo makes a cache of its own, give it an empty or absent directory", .0.display())]
    NotEmpty(PathBuf),
    #[error("{} is on a file system that is read-only, and this command writes; copy it to another, or read with get, keys, export, warm, stat, inspect and verify", .0.display())]
    ReadOnly(PathBuf),

    // What was asked for is not there, or not to be had.
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
    // A refused insert removes the older version: see `Inserted`.
    #[error("the cache does not keep {key}, which has no value now: {why}")]
    Rejected { key: String, why: &'static str },

    // What was said makes no sense.
    #[error("the key {text} cannot be read: {error}")]
    Escape { text: String, error: EscapeError },
    #[error("{}, line {line}: {what}", path.display())]
    Setting {
        path: PathBuf,
        line: usize,
        what: String,
    },
    /// What the library says of an option, with the name it has here.
    #[error("{0}")]
    Refused(String),
    #[error(
        "{name} is {capacity}, too much for this cache's tail of {tail}; choose at most {most}, or move the entries by export and import to a cache with a larger --tail"
    )]
    TooLargeForTail {
        name: String,
        capacity: String,
        tail: String,
        most: String,
    },
    #[error("{} is no page of `perennial inspect`, and no place for one; name another file", .0.display())]
    NoPage(PathBuf),
    #[error("{}, line {line}: {what}; give it the JSON of `Cache::stats()`, or of `stat --watch --json`, a line each time", path.display())]
    NoStats {
        path: PathBuf,
        line: usize,
        what: String,
    },
    #[error("every key begins with an empty prefix; --all removes everything")]
    EmptyPrefix,
    #[error("the stream is no text: send it to a file or another command, or name a file")]
    Terminal,
    #[error("stdout has the stream; --json needs --output with a file")]
    BesideTheStream,

    // Streams.
    #[error("{from}: {error}; nothing was imported")]
    Stream { from: String, error: StreamError },
    #[error(
        "{from}: the value at offset {at} has {bytes} bytes, and a segment of this cache holds at most {most} with that key; nothing was imported, make a cache with larger segments"
    )]
    NoSegmentHolds {
        from: String,
        at: u64,
        bytes: u64,
        most: u64,
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
    #[error("it was sound, and has changed while it was read")]
    Changed,
    #[error(
        "{left_out} of the entries cannot be read and are not in the stream, which is whole otherwise; see `perennial verify`, and -v for why"
    )]
    LeftOut { left_out: u64, damaged: u64 },
    #[error(
        "{0} of the values are compressed by a codec that this command was built without, and are not in the stream; build it with --features lz4,zstd"
    )]
    LeftOutByCodec(u64),
    #[error("{unreadable} of the entries cannot be read; see `perennial verify`, and -v for why")]
    LeftCold { unreadable: u64, damaged: u64 },

    // The bench and the demo.
    #[error("{0} reads gave a wrong value; keep the machine as it is, and report this")]
    Wrong(u64),
    #[error("an operation took longer than can be counted")]
    Histogram,
    #[error("there is no readable file below {}", .0.display())]
    NothingToCache(PathBuf),
    #[error("the demo's child could not be started: {0}")]
    Start(io::Error),
    #[error("the demo's child ended by itself: {0}")]
    ChildEnded(ExitStatus),
    #[error("the demo's child said what no child says: message {0:02x?}")]
    Message([u8; 24]),
    #[error("the demo's parent and child no longer reach each other: {0}")]
    Pipe(io::Error),

    // The library and the system.
    #[error(transparent)]
    Cache(#[from] perennial::Error),
    #[error("{} does not exist", .0.display())]
    Missing(PathBuf),
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("input: {0}")]
    Input(io::Error),
    #[error("output: {0}")]
    Output(io::Error),
    /// `| head` has seen enough.
    #[error("nobody reads the output")]
    ReaderGone,
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
}
