//! A lock-free write-ahead log whose segments can be kept as the data store.

mod lsn;

pub use lsn::{ALIGN, Addr, Lsn, SegmentId, align_down, align_up, to_u32, to_usize};
