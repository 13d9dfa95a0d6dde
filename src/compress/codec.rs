//! The codecs, as far as this build has them.

use super::Compression;

/// A codec that this build has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    #[cfg(feature = "lz4")]
    Lz4,
    #[cfg(feature = "zstd")]
    Zstd(i32),
}

/// In a frame's flags.
#[cfg(feature = "lz4")]
const LZ4: u8 = 1;
#[cfg(feature = "zstd")]
const ZSTD: u8 = 2;

impl Codec {
    /// To compress with.
    pub(super) fn of(compression: Compression) -> Option<Self> {
        match compression {
            #[cfg(feature = "lz4")]
            Compression::Lz4 => Some(Self::Lz4),
            #[cfg(feature = "zstd")]
            Compression::Zstd(level) => Some(Self::Zstd(level)),
            _ => None,
        }
    }

    /// To decompress with.
    pub(super) fn of_id(id: u8) -> Option<Self> {
        match id {
            #[cfg(feature = "lz4")]
            LZ4 => Some(Self::Lz4),
            #[cfg(feature = "zstd")]
            ZSTD => Some(Self::Zstd(0)),
            _ => None,
        }
    }

    pub(super) fn id(self) -> u8 {
        match self {
            #[cfg(feature = "lz4")]
            Self::Lz4 => LZ4,
            #[cfg(feature = "zstd")]
            Self::Zstd(_) => ZSTD,
        }
    }

    /// Appends the compressed chunk to `out` if it takes at most `most` bytes. False: it does not; what was appended means
    /// nothing.
    #[cfg_attr(
        not(any(feature = "lz4", feature = "zstd")),
        expect(
            unused_variables,
            clippy::ptr_arg,
            reason = "there is no codec to use them"
        )
    )]
    pub(super) fn compress(self, chunk: &[u8], most: usize, out: &mut Vec<u8>) -> bool {
        match self {
            #[cfg(feature = "lz4")]
            Self::Lz4 => {
                let begin = out.len();
                out.resize(
                    begin + lz4_flex::block::get_maximum_output_size(chunk.len()),
                    0,
                );
                let bytes = lz4_flex::block::compress_into(chunk, &mut out[begin..]);
                let bytes = bytes.ok().filter(|bytes| *bytes <= most);
                out.truncate(begin + bytes.unwrap_or(0));
                bytes.is_some()
            }
            #[cfg(feature = "zstd")]
            Self::Zstd(level) => {
                let begin = out.len();
                out.resize(begin + most, 0);
                let bytes = zstd::bulk::compress_to_buffer(chunk, &mut out[begin..], level);
                out.truncate(begin + bytes.as_ref().map_or(0, |bytes| *bytes));
                bytes.is_ok()
            }
        }
    }

    /// Fills `piece` from a compressed chunk, which must give exactly that; never writes more.
    #[cfg_attr(
        not(any(feature = "lz4", feature = "zstd")),
        expect(unused_variables, reason = "there is no codec to use them")
    )]
    pub(super) fn decompress(self, chunk: &[u8], piece: &mut [u8]) -> bool {
        match self {
            #[cfg(feature = "lz4")]
            Self::Lz4 => {
                let bytes = lz4_flex::block::decompress_into(chunk, piece);
                bytes.is_ok_and(|bytes| bytes == piece.len())
            }
            #[cfg(feature = "zstd")]
            Self::Zstd(_) => {
                let bytes = zstd::bulk::decompress_to_buffer(chunk, piece);
                bytes.is_ok_and(|bytes| bytes == piece.len())
            }
        }
    }
}
