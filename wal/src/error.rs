//! What can go wrong in the log, with the facts.

use std::io;
use std::sync::Arc;

/// An error of the log.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum WalError {
    /// A system call failed.
    #[error("{op} {path} at offset {offset}: {source}")]
    Io {
        /// What was tried.
        op: &'static str,
        /// On which file.
        path: String,
        /// Where in it.
        offset: u64,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// A write or sync of the log failed earlier: nothing more is made durable until the log is opened again.
    #[error(
        "the log is poisoned since an I/O error ({0}); close it, mend the device and open it again"
    )]
    Poisoned(Arc<str>),
    /// A thread that worked for the log panicked: our own bug.
    #[error("{0} panicked; see the log for where, and report it")]
    Panicked(&'static str),
    /// There is no free segment for more frames of this class.
    #[error("the log is full: no free segment")]
    Full,
    /// The frame can never fit.
    #[error("a frame of {bytes} bytes does not fit in a segment; at most {max}")]
    TooLarge {
        /// Bytes the frame would take.
        bytes: u64,
        /// Bytes that fit.
        max: u64,
    },
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
    /// A wait inside a closure that fills a reservation would wait for itself.
    #[error(
        "called from inside a closure that fills an entry, or that is told of an eviction; it would wait for itself"
    )]
    Reentered,
    /// The directory is locked.
    #[error("{0} is locked by another process; close that one or choose another directory")]
    Locked(String),
    /// The directory holds something this code must not touch.
    #[error("{0}")]
    Foreign(String),
    /// An option is out of range.
    #[error("{0}")]
    Invalid(String),
}

impl WalError {
    /// An I/O error with what was tried, where.
    #[must_use]
    pub fn io(op: &'static str, path: impl Into<String>, offset: u64, source: io::Error) -> Self {
        Self::Io {
            op,
            path: path.into(),
            offset,
            source: Arc::new(source),
        }
    }

    /// True where the system had no handle or no memory just now: it says nothing of any bytes, and another try may succeed.
    #[must_use]
    pub fn is_shortage(&self) -> bool {
        const ENOMEM: i32 = 12;
        const ENFILE: i32 = 23;
        const EMFILE: i32 = 24;
        let Self::Io { source, .. } = self else {
            return false;
        };
        matches!(source.raw_os_error(), Some(ENOMEM | ENFILE | EMFILE))
    }

    /// True where the disk or a quota was full: it says nothing of any bytes, and another try may succeed.
    #[must_use]
    pub fn is_no_space(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(self, Self::Io { source, .. } if matches!(source.kind(), StorageFull | QuotaExceeded))
    }

    /// True where a write found no room. What it was to write is in memory of ours still and can be written again in the same
    /// place: nothing was given up, unlike by a sync that failed.
    pub(crate) fn can_be_written_again(&self) -> bool {
        matches!(self, Self::Io { op: "write", .. }) && self.is_no_space()
    }

    /// True for a shortage that came while a file was opened or made: it has no new header, and is as free as before.
    pub(crate) fn changed_nothing(&self) -> bool {
        matches!(self, Self::Io { op, .. } if ["open", "size", "create"].contains(op))
            && self.is_shortage()
    }

    /// True where the media said that bytes are lost. Any other failure says nothing about them: another try may give them.
    #[must_use]
    pub fn is_medias(&self) -> bool {
        matches!(self, Self::Io { source, .. } if crate::scan::is_medias(source))
    }
}

/// The log's result.
pub type Result<T> = std::result::Result<T, WalError>;
