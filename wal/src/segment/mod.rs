//! Segment files: header, trailer, and the set of them.

mod header;
mod store;
mod trailer;

pub(crate) use header::HEADER_COPY_BYTES;
pub use header::{FORMAT_VERSION, HeaderFound, Join, MAX_JOINS, SegmentHeader};
pub(crate) use store::Writer;
pub use store::{
    Held, Inventory, KeptLayout, KeptWriter, Listed, MAX_FILES, Reserve, Segment, SegmentStore,
    file_name, slot_of,
};
pub(crate) use trailer::TrailerCrc;
pub use trailer::{FIXED_BYTES, ROW_BYTES, Row, Trailer, zone_begin};
