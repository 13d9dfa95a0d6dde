//! Entries as one stream of bytes: what `export` writes and `import` reads. Every byte: docs/export.md.
//!
//! ```text
//!   head | entry | entry | ... | trailer
//!          each under a crc       number of entries, bytes and xxh3 of all that comes before
//! ```

mod codec;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

use perennial::Priority;

pub(crate) use self::codec::StreamError;
pub(crate) use self::reader::{ReadError, Reader};
pub(crate) use self::writer::Writer;

/// An entry of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
    pub(crate) priority: Priority,
    /// The second since 1970 from which on it is a miss.
    pub(crate) ends_at_s: Option<u32>,
}
