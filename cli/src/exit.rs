//! What can go wrong, and the exit status a script sees for it.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::process::{ExitCode, ExitStatus};

use perennial::ErrorKind;

/// The exit status; clap itself ends with 2 for wrong usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Fine = 0,
    Failed = 1,
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

    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Missing(_) => Exit::Missing,
            Self::Cache(error) => of_cache(error.kind(), error),
            _ => Exit::Failed,
        }
    }
}

fn of_cache(kind: ErrorKind, error: &dyn Error) -> Exit {
    match kind {
        ErrorKind::Locked => Exit::Locked,
        ErrorKind::Corrupt => Exit::Damage,
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
            (ErrorKind::Invalid, &absent, Exit::Failed),
        ] {
            assert_eq!(of_cache(kind, error), exit, "{kind:?} {error:?}");
        }
    }

    #[test]
    fn a_missing_directory_is_not_just_an_error() {
        assert_eq!(Failure::Missing("x".into()).exit() as u8, 10);
        assert_eq!(Failure::NotEmpty("x".into()).exit() as u8, 1);
    }
}
