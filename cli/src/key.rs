//! Keys on the command line and in what is printed.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::escape::{Escaped, unescape};
use crate::failure::Failure;

/// How keys are written.
#[derive(Debug, clap::Args)]
pub(crate) struct KeyForm {
    /// Keys are written as `keys` shows them: \\ \n \t \r, and \x with two digits for any byte. Default: as they are.
    #[arg(short, long)]
    pub(crate) escaped: bool,
}

impl KeyForm {
    /// The bytes that are meant.
    pub(crate) fn bytes(&self, text: &OsStr) -> Result<Vec<u8>, Failure> {
        if !self.escaped {
            return Ok(text.as_bytes().to_vec());
        }
        unescape(text.as_bytes()).map_err(|error| Failure::Escape {
            text: shown(text.as_bytes()),
            error,
        })
    }
}

/// A key in one line of text, without loss.
pub(crate) fn shown(key: &[u8]) -> String {
    Escaped(key).to_string()
}
