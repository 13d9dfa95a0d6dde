//! Where the demo's cache is made.
#![expect(
    clippy::disallowed_methods,
    reason = "looks whether there is room for a cache, before there is one"
)]

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::failure::Failure;

/// A temporary directory is removed with this, a chosen one is kept.
#[derive(Debug)]
pub(super) enum Place {
    Temporary(TempDir),
    Chosen(PathBuf),
}

impl Place {
    /// `chosen` must be empty or absent: the demo must not count what it has not put there.
    pub(super) fn prepare(chosen: Option<&Path>) -> Result<Self, Failure> {
        let Some(chosen) = chosen else {
            let made = tempfile::Builder::new().prefix("perennial-demo-").tempdir();
            return made
                .map(Self::Temporary)
                .map_err(|error| Failure::file(std::env::temp_dir(), error));
        };
        let failed = |error| Failure::file(chosen, error);
        fs::create_dir_all(chosen).map_err(failed)?;
        if fs::read_dir(chosen).map_err(failed)?.next().is_some() {
            return Err(Failure::NotEmpty(chosen.to_owned()));
        }
        Ok(Self::Chosen(chosen.to_owned()))
    }

    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Temporary(dir) => dir.path(),
            Self::Chosen(dir) => dir,
        }
    }

    /// Removes what is temporary, and says if that fails.
    pub(super) fn clear(self) -> Result<(), Failure> {
        match self {
            Self::Temporary(dir) => {
                let path = dir.path().to_owned();
                dir.close().map_err(|error| Failure::file(path, error))
            }
            Self::Chosen(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_or_absent_directory_will_do() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b");
        for chosen in [dir.path(), &deep, &deep] {
            let place = Place::prepare(Some(chosen)).unwrap();
            assert_eq!(place.path(), chosen);
            place.clear().unwrap();
            assert!(chosen.is_dir());
        }
    }

    #[test]
    fn a_directory_with_anything_in_it_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("precious"), b"").unwrap();
        let error = Place::prepare(Some(dir.path())).unwrap_err();
        assert!(matches!(error, Failure::NotEmpty(_)), "{error}");
    }

    #[test]
    fn a_temporary_directory_is_removed() {
        let place = Place::prepare(None).unwrap();
        let path = place.path().to_owned();
        assert!(path.is_dir());
        place.clear().unwrap();
        assert!(!path.exists());
    }
}
