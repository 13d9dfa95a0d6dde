#![doc = include_str!("../README.md")]

mod absorb;
mod cache;
mod checkpoint;
mod engine;
mod error;
mod fetch;
mod index;
mod ledger;
mod open;
mod options;
mod read;
mod reclaim;
mod stats;
mod sync;
mod tier;
mod typed;
mod upkeep;
mod value;
mod workers;
mod write;

pub use cache::Cache;
pub use error::{Error, ErrorKind, Result};
pub use options::{Options, Tail};
pub use stats::Stats;
pub use typed::TypedCache;
pub use value::{Inserted, Rejection, Value};
