//! Bars on stderr, if that is a terminal and nobody wants it quiet.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::args::Verbosity;

const BYTES: &str = "{msg} {bar:40} {bytes:>11} of {total_bytes}, {eta} left";
const FLOW: &str = "{spinner} {msg}: {bytes}, {elapsed}";
const COUNT: &str = "{spinner} {msg}: {human_pos} entries, {elapsed}";
const SPIN: &str = "{spinner} {msg}, {elapsed}";
const TICK: Duration = Duration::from_millis(200);

/// Is gone from the screen with its end, however that comes.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    pub(crate) fn none() -> Self {
        Self(ProgressBar::hidden())
    }

    pub(crate) fn bytes(verbosity: Verbosity, what: &'static str, bytes: u64) -> Self {
        Self::new(verbosity, ProgressBar::new(bytes), BYTES, what)
    }

    pub(crate) fn flow(verbosity: Verbosity, what: &'static str) -> Self {
        Self::new(verbosity, ProgressBar::no_length(), FLOW, what)
    }

    pub(crate) fn counter(verbosity: Verbosity, what: &'static str) -> Self {
        Self::new(verbosity, ProgressBar::no_length(), COUNT, what)
    }

    pub(crate) fn spinner(verbosity: Verbosity, what: &'static str) -> Self {
        let spinner = Self::new(verbosity, ProgressBar::no_length(), SPIN, what);
        if !spinner.0.is_hidden() {
            spinner.0.enable_steady_tick(TICK);
        }
        spinner
    }

    fn new(verbosity: Verbosity, bar: ProgressBar, template: &str, what: &'static str) -> Self {
        if verbosity.quiet {
            return Self::none();
        }
        let style = ProgressStyle::with_template(template);
        let bar = bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self(bar.with_message(what))
    }

    pub(crate) fn set(&self, at: u64) {
        self.0.set_position(at);
    }

    pub(crate) fn add(&self, more: u64) {
        self.0.inc(more);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
