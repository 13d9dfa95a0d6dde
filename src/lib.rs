#![doc = include_str!("../README.md")]

mod absorb;
mod accounts;
mod admission;
pub mod blocks;
mod cache;
mod checkpoint;
mod clear;
mod clock;
mod compress;
mod engine;
mod error;
mod evict;
mod fetch;
mod heads;
mod health;
mod index;
mod insert_options;
mod inspect;
mod keys;
mod latency;
mod later;
mod ledger;
mod loading;
mod look;
mod open;
mod options;
mod pace;
mod packing;
mod pins;
mod prefix;
mod read;
mod read_only;
#[cfg(feature = "model")]
#[doc(hidden)]
pub mod reclaim;
#[cfg(not(feature = "model"))]
mod reclaim;
mod references;
mod repair;
mod resize;
mod scan;
#[cfg(all(test, shuttle))]
mod shuttle_tests;
mod stats;
mod sync;
mod tails;
#[cfg(feature = "tokio")]
mod tasks;
mod tier;
mod times;
mod typed;
mod upkeep;
mod value;
mod verify;
mod workers;
mod write;

pub use accounts::{Ledger, SegmentLedger, SizeCount};
pub use admission::{Admission, AdmittedByAll, Offer, ValueSize, WriteBudget};
pub use cache::Cache;
pub use compress::Compression;
#[cfg(feature = "model")]
#[doc(hidden)]
pub use engine::largest_ring_frame;
pub use error::{Error, ErrorKind, Result};
pub use evict::{EvictReason, EvictionListener};
pub use health::{Health, HealthCause, HealthListener, HealthState, OnIoError};
#[cfg(feature = "model")]
#[doc(hidden)]
pub use index::BareIndex;
pub use insert_options::{InsertOptions, Priority};
pub use inspect::{
    CheckpointSummary, FileState, FrameField, FrameSummary, Inspection, Life, SegmentFrames,
    SegmentSummary, ShownFrame, TailSummary, inspect, inspect_frame, inspect_frames, inspect_with,
};
pub use keys::Keys;
pub use latency::Latency;
pub use options::{Eviction, Options, Tail, WhenFull};
pub use read_only::{ReadOnlyCache, ReadOnlyKeys, ReadOnlyStats};
pub use repair::{QUARANTINE_NAME, Repair, RepairMode, RepairReport, repair, repair_with};
pub use scan::Scan;
pub use stats::Stats;
#[cfg(feature = "tokio")]
pub use tasks::AsyncCache;
pub use times::Timings;
pub use typed::TypedCache;
pub use value::{Entry, Inserted, Rejection, Value};
pub use verify::{verify, verify_with};

pub use perennial_recovery::{Problem, VerifyReport};
