//! The exit status a script sees.

use std::error::Error;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use perennial::ErrorKind;

use crate::failure::Failure;
use crate::stream::StreamError;

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

impl Failure {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Absent(_)
            | Self::Missing(_)
            | Self::NoCache(_)
            | Self::NoKey(_)
            | Self::NoSegment(_) => Exit::Missing,
            Self::Damaged(_) | Self::Wrong(_) => Exit::Damage,
            Self::Stream { error, .. } => of_stream(*error),
            Self::LeftOut { damaged: 1.., .. } | Self::LeftCold { damaged: 1.., .. } => {
                Exit::Damage
            }
            // What was called was right; what was in the stream was not.
            Self::Half { why, .. } if why.exit() == Exit::Usage => Exit::Failed,
            Self::Half { why, .. } => why.exit(),
            Self::Terminal | Self::BesideTheStream | Self::EmptyPrefix => Exit::Usage,
            Self::Setting { .. } | Self::Escape { .. } => Exit::Usage,
            Self::Refused(_) | Self::TooLargeForTail { .. } => Exit::Usage,
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
        ErrorKind::Io if comes_from(error, io::ErrorKind::NotFound) => Exit::Missing,
        _ => Exit::Failed,
    }
}

/// True where a system call ended so.
pub(crate) fn comes_from(error: &dyn Error, kind: io::ErrorKind) -> bool {
    let mut next = error.source();
    while let Some(cause) = next {
        if of_the_system(cause).is_some_and(|io| io.kind() == kind) {
            return true;
        }
        next = cause.source();
    }
    false
}

/// The log shares it among those who waited for it.
fn of_the_system<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    let shared = error.downcast_ref::<Arc<io::Error>>();
    error
        .downcast_ref()
        .or_else(|| shared.map(|error| &**error))
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
        assert_eq!(Failure::Absent("x".into()).exit() as u8, 10);
        assert_eq!(Failure::NoKey("x".into()).exit() as u8, 10);
        assert_eq!(Failure::NotEmpty("x".into()).exit() as u8, 1);
    }
}
