//! How long something took.
#![expect(clippy::disallowed_methods, reason = "time is what is measured here")]

use std::time::{Duration, Instant};

pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let begin = Instant::now();
    let done = work();
    (done, begin.elapsed())
}
