//! What a replay counts, and what it says.

use std::time::Duration;

use serde::Serialize;

/// What a replay counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) requests: u64,
    pub(crate) hits: u64,
    pub(crate) requested_bytes: u64,
    pub(crate) hit_bytes: u64,
    /// Frames and trailer rows of what was stored after a miss.
    pub(crate) admitted_bytes: u64,
    /// Frames and trailer rows of what was written again, to be kept.
    pub(crate) moved_bytes: u64,
    /// Whole segments: frames, rows, headers, trailers and what is left over.
    pub(crate) flash_bytes: u64,
    pub(crate) segments: u64,
}

/// One line of results.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    pub(crate) trace: String,
    pub(crate) policy: String,
    pub(crate) mode: &'static str,
    pub(crate) capacity_bytes: u64,
    pub(crate) segments: u64,
    pub(crate) requests: u64,
    pub(crate) hit_ratio: f64,
    pub(crate) byte_hit_ratio: f64,
    /// Bytes of entries written, by what was admitted.
    pub(crate) write_amplification: f64,
    pub(crate) flash_bytes_per_requested_byte: f64,
    pub(crate) requests_per_s: f64,
}

impl Counts {
    pub(crate) fn request(&mut self, bytes: u64, hit: bool) {
        self.requests += 1;
        self.requested_bytes += bytes;
        if hit {
            self.hits += 1;
            self.hit_bytes += bytes;
        }
    }

    pub(crate) fn hit_ratio(&self) -> f64 {
        ratio(self.hits, self.requests)
    }

    pub(crate) fn miss_ratio(&self) -> f64 {
        ratio(self.requests - self.hits, self.requests)
    }

    pub(crate) fn write_amplification(&self) -> f64 {
        ratio(self.admitted_bytes + self.moved_bytes, self.admitted_bytes)
    }

    pub(crate) fn rate(&self, took: Duration) -> f64 {
        float(self.requests) / took.as_secs_f64().max(1e-9)
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
pub(crate) fn float(n: u64) -> f64 {
    n as f64
}

/// 0 of nothing.
pub(crate) fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        float(part) / float(whole)
    }
}
