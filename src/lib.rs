//! A log-structured persistent cache that is still warm after a crash.

#[cfg_attr(
    not(test),
    expect(dead_code, reason = "used by the cache, which comes next")
)]
mod index;
