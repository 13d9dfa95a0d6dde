//! How the command was called: what all commands need to know.

use std::path::Path;

use clap::ArgMatches;

use crate::args::{Args, Verbosity};
use crate::config::{Config, Flags, NewFlags};
use crate::failure::Failure;
use crate::progress::Progress;

pub(crate) struct Call<'a> {
    pub(crate) verbosity: Verbosity,
    config: Option<&'a Path>,
    /// Of the command itself, below `perennial`: they know which values come from the environment.
    matches: &'a ArgMatches,
}

impl<'a> Call<'a> {
    pub(crate) fn new(args: &'a Args, matches: &'a ArgMatches) -> Self {
        let mut inner = matches;
        while let Some((_, below)) = inner.subcommand() {
            inner = below;
        }
        Self {
            verbosity: args.verbosity,
            config: args.config.as_deref(),
            matches: inner,
        }
    }

    pub(crate) fn config(
        &self,
        flags: &Flags,
        new: &NewFlags,
        cache: Option<&Path>,
    ) -> Result<Config, Failure> {
        Config::gather(self.matches, flags, new, self.config, cache)
    }

    /// A bar up to so many bytes.
    pub(crate) fn bytes_bar(&self, what: &'static str, bytes: u64) -> Progress {
        Progress::bytes(self.verbosity, what, bytes)
    }

    /// Bytes, of nobody knows how many.
    pub(crate) fn flow(&self, what: &'static str) -> Progress {
        Progress::flow(self.verbosity, what)
    }

    /// A count that goes up, of nobody knows how much.
    pub(crate) fn counter(&self, what: &'static str) -> Progress {
        Progress::counter(self.verbosity, what)
    }

    /// Only that something goes on.
    pub(crate) fn spinner(&self, what: &'static str) -> Progress {
        Progress::spinner(self.verbosity, what)
    }
}
