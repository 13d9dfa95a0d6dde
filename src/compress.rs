//! Values stored smaller than they are, piece by piece.
//!
//! ```text
//!  byte 0             4                8                4 + 4n
//!      | value bytes | bytes of chunk | bytes of chunk | ...  | chunk | chunk | ...     one chunk for each 64 KiB of value
//! ```
//! A chunk as long as its piece of the value is that piece as it is; a shorter one is compressed, and each is by itself, so
//! that a range needs the chunks it touches and no other. What a frame proves by its crcs is what is stored: they are
//! checked before anything here. Lengths are believed only as far as they fit each other, no chunk gives more than its
//! 64 KiB, and no value more than the largest segment, 64 MiB.

mod codec;
mod decode;

use std::borrow::Cow;

use perennial_wal::frame::CHUNK_BYTES;
use perennial_wal::{to_u32, to_usize};

use crate::error::{Error, Result};

use codec::Codec;
pub(crate) use decode::{Layout, Unreadable, is_coded, part_of, readable, value_of};

/// Whether values are compressed, and how. Where the library was built without the feature of that name
/// [`Cache::open`](crate::Cache::open) and [`Cache::insert_with`](crate::Cache::insert_with) answer
/// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Compression {
    /// Stored as they are.
    #[default]
    None,
    /// LZ4 blocks: quick. Feature `lz4`.
    Lz4,
    /// Zstandard with this level, from 1, which is quick, to 22. Feature `zstd`.
    Zstd(i32),
}

/// Pieces that values are compressed in.
const CHUNK: usize = to_usize(CHUNK_BYTES);

impl Compression {
    /// Refuses what this build cannot do, or nobody can.
    pub(crate) fn check(self) -> Result<()> {
        let missing = |feature: &str| {
            Err(Error::invalid(format!(
                "compression needs the feature `{feature}`; build with it or choose another"
            )))
        };
        match self {
            Self::Lz4 if !cfg!(feature = "lz4") => missing("lz4"),
            Self::Zstd(_) if !cfg!(feature = "zstd") => missing("zstd"),
            Self::Zstd(level) if !(1..=22).contains(&level) => Err(Error::invalid(format!(
                "the level of zstd is {level}; choose from 1 to 22"
            ))),
            Self::None | Self::Lz4 | Self::Zstd(_) => Ok(()),
        }
    }

    /// What to store for a value, and the codec's id for the frame's flags. A value that gets no smaller is stored as it is.
    pub(crate) fn store(self, value: &[u8]) -> (Cow<'_, [u8]>, u8) {
        let as_it_is = (Cow::Borrowed(value), 0);
        let Some(codec) = Codec::of(self) else {
            return as_it_is;
        };
        let chunks = value.chunks(CHUNK);
        let table_bytes = 4 + 4 * chunks.len();
        let mut stored = vec![0; table_bytes];
        stored[..4].copy_from_slice(&to_u32(value.len()).to_le_bytes());
        for (n, chunk) in chunks.enumerate() {
            let begin = stored.len();
            // At least an eighth less, or it is not worth what it costs to read.
            let most = chunk.len() - chunk.len().div_ceil(8);
            if !codec.compress(chunk, most, &mut stored) {
                stored.truncate(begin);
                stored.extend_from_slice(chunk);
            }
            let bytes = to_u32(stored.len() - begin);
            stored[4 + 4 * n..8 + 4 * n].copy_from_slice(&bytes.to_le_bytes());
        }
        if stored.len() < value.len() {
            (Cow::Owned(stored), codec.id())
        } else {
            as_it_is
        }
    }
}

#[cfg(test)]
mod tests;
