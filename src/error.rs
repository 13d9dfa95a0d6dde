//! What the cache reports: a kind that says what to do now, a sentence, a source.

use std::fmt;
use std::sync::Arc;

use perennial_recovery::IdentityFileError;
use perennial_wal::WalError;

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An argument or option is out of range: change it. Nothing happened.
    Invalid,
    /// Another process has the directory open: close that one, or choose another directory.
    Locked,
    /// There was no room, not even to remove the older version, and the call may not wait; or what was to be read was overtaken by
    /// who writes it. Try again. Nothing happened.
    Busy,
    /// The disk is full, or the cache too small for the entry: make room.
    Full,
    /// A system call failed: see the source.
    Io,
    /// The directory's identity is damaged or of a newer format: restore it, or remove the directory.
    Corrupt,
    /// A write or sync failed earlier: nothing more is written, and reads go on unless
    /// [`OnIoError::FailStop`](crate::OnIoError::FailStop) says otherwise. Mend the device and open again.
    Poisoned,
    /// The caller's own closure or [`Origin`](crate::blocks::Origin) failed or panicked: see the source.
    Origin,
    /// The cache was closed, or the runtime is shutting down.
    Closed,
    /// The object has another version at its origin, or keeps changing: ask for its version again.
    Changed,
    /// The caller cancelled it.
    Cancelled,
}

type Source = Arc<dyn std::error::Error + Send + Sync>;

/// An error of the cache. Cheap to clone: everyone who waited for one fetch gets the same.
#[derive(Clone)]
pub struct Error {
    kind: ErrorKind,
    message: Arc<str>,
    source: Option<Source>,
}

/// The cache's result.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into().into(),
            source: None,
        }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    pub(crate) fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into().into());
        self
    }

    #[cold]
    pub(crate) fn closed() -> Self {
        Self::new(ErrorKind::Closed, "the cache is closed")
    }

    pub(crate) fn io(what: impl fmt::Display, source: std::io::Error) -> Self {
        Self::new(kind_of(&source), format!("{what}: {source}")).with_source(source)
    }

    /// The source, if it is such an error.
    pub(crate) fn cause<E: std::error::Error + 'static>(&self) -> Option<&E> {
        self.source.as_ref()?.downcast_ref()
    }

    /// What to do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

fn kind_of(error: &std::io::Error) -> ErrorKind {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => ErrorKind::Full,
        _ => ErrorKind::Io,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.kind)
            .field("message", &self.message)
            .finish_non_exhaustive()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn std::error::Error + 'static))
    }
}

impl From<WalError> for Error {
    fn from(error: WalError) -> Self {
        let kind = match &error {
            WalError::Io { source, .. } => kind_of(source),
            WalError::Poisoned(_) => ErrorKind::Poisoned,
            WalError::Full => ErrorKind::Full,
            WalError::TooLarge { .. } | WalError::Invalid(_) | WalError::Reentered => {
                ErrorKind::Invalid
            }
            WalError::Closed => return Self::closed(),
            WalError::Locked(_) => ErrorKind::Locked,
            WalError::Foreign(_) => ErrorKind::Corrupt,
            _ => ErrorKind::Io,
        };
        Self::new(kind, error.to_string()).with_source(error)
    }
}

impl From<IdentityFileError> for Error {
    fn from(error: IdentityFileError) -> Self {
        let kind = match &error {
            IdentityFileError::Io { source, .. } => kind_of(source),
            _ => ErrorKind::Corrupt,
        };
        Self::new(kind, error.to_string()).with_source(error)
    }
}
