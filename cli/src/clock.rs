//! How long things took.
#![expect(
    clippy::disallowed_methods,
    reason = "the command times itself, not the cache"
)]

use std::time::{Duration, Instant, SystemTime};

pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Seconds since 1970, as the wall clock says.
pub(crate) fn unix_now_s() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
