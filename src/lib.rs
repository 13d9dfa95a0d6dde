#![doc = include_str!("../README.md")]

mod absorb;
mod accounts;
mod cache;
mod checkpoint;
mod engine;
mod error;
mod fetch;
mod index;
mod inspect;
mod ledger;
mod look;
mod open;
mod options;
mod packing;
mod read;
#[cfg(feature = "model")]
#[doc(hidden)]
pub mod reclaim;
#[cfg(not(feature = "model"))]
mod reclaim;
mod resize;
#[cfg(all(test, shuttle))]
mod shuttle_tests;
mod stats;
mod sync;
mod tails;
mod tier;
mod typed;
mod upkeep;
mod value;
mod verify;
mod workers;
mod write;

pub use accounts::{Ledger, SegmentLedger};
pub use cache::Cache;
pub use error::{Error, ErrorKind, Result};
pub use inspect::{
    CheckpointSummary, FileState, Inspection, SegmentSummary, TailSummary, inspect, inspect_with,
};
pub use options::{Eviction, Options, Tail};
pub use stats::Stats;
pub use typed::TypedCache;
pub use value::{Inserted, Rejection, Value};
pub use verify::{verify, verify_with};

pub use perennial_recovery::{Problem, VerifyReport};
