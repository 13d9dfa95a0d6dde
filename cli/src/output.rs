//! Data on stdout. A reader that went away (`| head`) is an error, not a panic.

use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use crate::exit::Failure;

pub(crate) fn line(text: impl Display) -> Result<(), Failure> {
    writeln!(io::stdout(), "{text}").map_err(Failure::Output)
}

pub(crate) fn json(document: &impl Serialize) -> Result<(), Failure> {
    line(serde_json::to_string(document)?)
}

/// A directory that is not there has an exit status of its own.
pub(crate) fn must_exist(cache: &Path) -> Result<(), Failure> {
    match cache.try_exists() {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::Missing(cache.to_owned())),
        Err(error) => Err(Failure::file(cache, error)),
    }
}
