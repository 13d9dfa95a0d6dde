//! Data on stdout.

use std::fmt::Display;
use std::io::{self, BufWriter, StdoutLock, Write};

use serde::Serialize;

use crate::failure::Failure;

pub(crate) fn line(text: impl Display) -> Result<(), Failure> {
    writeln!(io::stdout(), "{text}").map_err(Failure::output)
}

pub(crate) fn json(document: &impl Serialize) -> Result<(), Failure> {
    line(serde_json::to_string(document)?)
}

/// For people, beside the data. Nobody may read it: that is no error, and no panic.
pub(crate) fn note(text: impl Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// One document, or the same for people.
pub(crate) fn either(json: bool, document: &(impl Serialize + Display)) -> Result<(), Failure> {
    if json {
        self::json(document)
    } else {
        line(document)
    }
}

/// For much of it. What is left in the buffer is lost without [`finish`](Self::finish).
pub(crate) struct Out(BufWriter<StdoutLock<'static>>);

impl Out {
    pub(crate) fn new() -> Self {
        Self(BufWriter::with_capacity(1 << 16, io::stdout().lock()))
    }

    pub(crate) fn text(&mut self, text: impl Display) -> Result<(), Failure> {
        write!(self.0, "{text}").map_err(Failure::output)
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.0.write_all(bytes).map_err(Failure::output)
    }

    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        self.0.flush().map_err(Failure::output)
    }
}
