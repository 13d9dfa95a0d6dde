#![doc = include_str!("../README.md")]
#![cfg_attr(
    loom,
    expect(
        dead_code,
        reason = "the models use a part of what is compiled for them"
    )
)]

#[cfg(not(loom))]
mod aligned;
#[cfg(not(loom))]
mod background;
#[cfg(not(loom))]
mod buffer;
mod commit;
#[cfg(not(loom))]
mod contents;
#[cfg(not(loom))]
mod core;
mod descriptors;
#[cfg(all(feature = "model", not(loom)))]
#[doc(hidden)]
pub mod dry;
#[cfg(not(loom))]
mod error;
#[cfg(not(loom))]
mod examine;
#[cfg(not(loom))]
mod extent;
#[cfg(not(loom))]
mod filling;
#[cfg(not(loom))]
mod flipped;
#[cfg(not(loom))]
mod flusher;
pub mod frame;
#[cfg(not(loom))]
mod geometry;
#[cfg(not(loom))]
mod handover;
mod header_word;
#[cfg(not(loom))]
mod log;
#[cfg(not(loom))]
mod log_file;
#[cfg(all(test, loom))]
mod loom_models;
mod lsn;
#[cfg(not(loom))]
mod mending;
#[cfg(not(loom))]
mod open;
#[cfg(not(loom))]
mod repair;
#[cfg(not(loom))]
mod reservation;
#[cfg(not(loom))]
mod rows;
#[cfg(not(loom))]
mod scan;
#[cfg(not(loom))]
pub mod segment;
#[cfg(all(test, shuttle, not(loom)))]
mod shuttle_tests;
#[cfg(not(loom))]
mod signal;
#[cfg(loom)]
mod sync;
#[cfg(not(loom))]
#[doc(hidden)]
pub mod sync;
#[cfg(not(loom))]
mod table;
#[cfg(not(loom))]
mod tail;
#[cfg(not(loom))]
mod tail_file;
mod tail_head;
mod verdict;
#[cfg(not(loom))]
mod walk;
#[cfg(not(loom))]
mod watch;

#[cfg(not(loom))]
pub use crate::core::{LogCore, Refused};
#[cfg(not(loom))]
pub use background::{Background, PoisonsInPanic};
#[cfg(not(loom))]
pub use buffer::{Class, NoRoom};
#[cfg(not(loom))]
pub use contents::{Contents, Event, Events, Verdicts, Walked};
pub use descriptors::{Descriptors, FoundDescriptor};
#[cfg(not(loom))]
pub use error::{Result, WalError};
#[cfg(not(loom))]
pub use examine::{Damage, Damaged, Examined, ExaminedKept, Outline, SegmentState};
#[cfg(not(loom))]
pub use filling::{filling, may_wait};
#[cfg(not(loom))]
pub use geometry::{Geometry, Life};
#[cfg(not(loom))]
pub use log::{Log, LogEntry, LogOptions};
pub use lsn::{ALIGN, Addr, Lsn, SegmentId, align_down, align_up, to_u32, to_usize};
#[cfg(not(loom))]
pub use mending::{Patch, Remedy};
#[cfg(not(loom))]
pub use open::{TailMemory, read_without_tail};
#[cfg(not(loom))]
pub use repair::Mended;
#[cfg(not(loom))]
pub use reservation::{Body, FrameSpec, Reservation};
#[cfg(not(loom))]
pub use rows::{EXTENT_REF_BYTES, ExtentRef};
#[cfg(not(loom))]
pub use scan::{ChainSegment, Found, TailEvidence};
#[cfg(not(loom))]
pub use signal::Signal;
#[cfg(not(loom))]
pub use table::TableBuffer;
#[cfg(not(loom))]
pub use tail::TailRead;
#[cfg(not(loom))]
pub use tail_file::open_tail_file;
pub use tail_head::{TAIL_HEAD_BYTES, TailHead, TailIdentity};
pub use verdict::{GapFacts, GapVerdict, judge_gap};
#[cfg(not(loom))]
pub use walk::{FrameItem, GapItem, Item, SegmentBytes};
#[cfg(not(loom))]
pub use watch::Watch;

/// Long loops of tests take one step in so many under an interpreter, which is a thousand times as slow.
#[cfg(test)]
pub(crate) const STEP: usize = if cfg!(miri) { 61 } else { 1 };
