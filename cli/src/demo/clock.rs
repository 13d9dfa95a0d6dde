//! How long things took.
#![expect(
    clippy::disallowed_methods,
    reason = "the demo times itself, not the cache"
)]

use std::time::{Duration, Instant};

pub(super) struct Stopwatch(Instant);

impl Stopwatch {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
