//! Clocks, counters and what they add up to.

pub(crate) mod disk;
pub(crate) mod latency;
pub(crate) mod machine;
pub(crate) mod memory;
pub(crate) mod spread;
