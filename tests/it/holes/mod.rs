//! The holes of the protocol, by number: each schedule or crash state that would break a promise, played.
//!
//! `docs/recovery.md` has the table of all holes, with the test of each or the reason why there can be none.

mod api_and_index;
mod checkpoint_and_replay;
mod closed_by_recovery;
mod identity_of_bytes;
pub(crate) mod lab;
mod large_values;
mod lost_sectors;
mod recovery_and_tail;
mod slow_closures;
mod write_path;
