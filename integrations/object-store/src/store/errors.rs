//! What readers are told: an error of the store below as the variant that it was.

use std::error::Error as _;
use std::fmt::Display;

use super::object_store::{Error, path};
use crate::relayed::Relayed;

/// Who says so, where it is not the store below.
pub(super) const STORE: &str = "perennial";

/// In words of which a client makes its error.
const LATER: [&str; 2] = ["status code: 408", "status code: 429"];

type Source = Box<dyn std::error::Error + Send + Sync>;

/// An error of our own.
pub(super) fn generic(source: impl Into<Source>) -> Error {
    Error::Generic {
        store: STORE,
        source: source.into(),
    }
}

/// The error of the store below that is behind one of the cache, as far as it can be said again; else that of the cache.
pub(super) fn failed(error: perennial::Error) -> Error {
    match said_below(&error) {
        Some(said) => again(said, &error),
        None => generic(error),
    }
}

fn said_below(error: &perennial::Error) -> Option<&Error> {
    let mut next = error.source();
    while let Some(cause) = next {
        if let Some(said) = cause.downcast_ref() {
            return Some(said);
        }
        next = cause.source();
    }
    None
}

/// The same once more: everyone who waited for the answer gets one.
fn again(said: &Error, error: &perennial::Error) -> Error {
    let relayed =
        |message: &dyn Display| -> Source { Box::new(Relayed::new(&message, error.clone())) };
    match said {
        Error::Generic { store, source } => Error::Generic {
            store,
            source: relayed(source),
        },
        Error::NotFound { path, source } => Error::NotFound {
            path: path.clone(),
            source: relayed(source),
        },
        Error::AlreadyExists { path, source } => Error::AlreadyExists {
            path: path.clone(),
            source: relayed(source),
        },
        Error::Precondition { path, source } => Error::Precondition {
            path: path.clone(),
            source: relayed(source),
        },
        Error::NotModified { path, source } => Error::NotModified {
            path: path.clone(),
            source: relayed(source),
        },
        Error::PermissionDenied { path, source } => Error::PermissionDenied {
            path: path.clone(),
            source: relayed(source),
        },
        Error::Unauthenticated { path, source } => Error::Unauthenticated {
            path: path.clone(),
            source: relayed(source),
        },
        Error::NotSupported { source } => Error::NotSupported {
            source: relayed(source),
        },
        Error::NotImplemented {
            operation,
            implementer,
        } => Error::NotImplemented {
            operation: operation.clone(),
            implementer: implementer.clone(),
        },
        Error::UnknownConfigurationKey { store, key } => Error::UnknownConfigurationKey {
            store,
            key: key.clone(),
        },
        Error::InvalidPath { source } => match named_again(source) {
            Some(source) => Error::InvalidPath { source },
            None => generic(relayed(said)),
        },
        // A task that was lost: its source cannot be made again.
        other => generic(relayed(other)),
    }
}

/// What is wrong with a name, once more.
fn named_again(wrong: &path::Error) -> Option<path::Error> {
    Some(match wrong {
        path::Error::EmptySegment { path } => path::Error::EmptySegment { path: path.clone() },
        path::Error::Canonicalize { path, source } => path::Error::Canonicalize {
            path: path.clone(),
            source: std::io::Error::new(source.kind(), source.to_string()),
        },
        path::Error::InvalidPath { path } => path::Error::InvalidPath { path: path.clone() },
        path::Error::NonUnicode { path, source } => path::Error::NonUnicode {
            path: path.clone(),
            source: *source,
        },
        path::Error::PrefixMismatch { path, prefix } => path::Error::PrefixMismatch {
            path: path.clone(),
            prefix: prefix.clone(),
        },
        // What it says of the segment cannot be copied, only found once more.
        path::Error::BadSegment { path, .. } => path::Path::parse(path).err()?,
        _ => return None,
    })
}

/// Whether it was the request that failed, not what was asked for. A client of HTTP says so when it has tried for as long as it
/// may, minutes: another question would take as long. What the server refuses, with a status from 400 to 499, it says at once; but
/// with 408 and 429 it asks for patience.
pub(super) fn is_outage(error: &Error) -> bool {
    let Error::Generic { source, .. } = error else {
        return false;
    };
    let said = source.to_string();
    let is_refused =
        said.contains("status code: 4") && !LATER.iter().any(|status| said.contains(status));
    said.starts_with("Error performing ") && !is_refused
}

/// Whether a store that knows no ranges may say this when it is asked for one.
pub(super) fn may_be_of_the_range(error: &Error) -> bool {
    match error {
        Error::NotSupported { .. } | Error::NotImplemented { .. } => true,
        Error::Generic { .. } => !is_outage(error),
        _ => false,
    }
}

/// Why a read did not come about.
pub(super) enum Stopped {
    /// What was known of the object is not so, or cannot be read: it is asked for, and the read begins anew. The error is for
    /// whoever has tried that often enough.
    Stale(Error),
    Failed(Error),
}

impl Stopped {
    pub(super) fn told(self) -> Error {
        match self {
            Self::Stale(error) | Self::Failed(error) => error,
        }
    }
}

impl From<perennial::Error> for Stopped {
    fn from(error: perennial::Error) -> Self {
        if error.kind() == perennial::ErrorKind::Changed {
            return Self::Stale(failed(error));
        }
        Self::Failed(failed(error))
    }
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}
