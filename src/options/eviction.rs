//! What is evicted, and what is kept when its segment is reclaimed.

/// Which entries go when room is needed. Whole segments are reclaimed; what is kept of one is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Eviction {
    /// Whole segments in the order of insertion. Nothing is ever written twice.
    Fifo,
    /// In the order of insertion, but what was read since goes to the head of the log again.
    Clock,
    /// The log is probation: what is read there, or comes back soon after it was dropped, is copied to kept segments. A
    /// hand goes over these: what was read since its last round stays (SIEVE, Zhang et al. 2024, over segments as in
    /// Segcache, Yang et al. 2021, with the small queue and the ghosts of S3-FIFO, Yang et al. 2023).
    S3Merge,
}
