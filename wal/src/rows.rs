//! What a trailer's row says of a frame, and where a large value's frame says that it lies.

use crate::frame::{FrameHeader, FrameKind, HEADER_BYTES};
use crate::lsn::{Addr, Lsn, to_u32, to_usize};
use crate::segment::Row;

/// The trailer's row for a frame that has no target but itself.
pub(crate) fn row_of_header(header: &FrameHeader, lsn: Lsn) -> Row {
    Row {
        hash: header.hash,
        target: Addr::log(lsn),
        bytes: to_u32(to_usize(HEADER_BYTES + header.body_bytes())),
        kind: header.kind,
        flags: header.flags,
        key_bytes: header.key_bytes,
    }
}

/// The trailer's row for the frame at `lsn`.
pub(crate) fn row_of(header: &FrameHeader, frame: &[u8], lsn: Lsn) -> Row {
    let mut row = row_of_header(header, lsn);
    if header.kind == FrameKind::Ref
        && let Some(extent) = ExtentRef::decode(header.value(frame))
    {
        row.target = Addr::log(extent.lsn);
        row.bytes = extent.bytes;
    }
    row
}

/// Bytes of a `Ref` frame's body.
pub const EXTENT_REF_BYTES: usize = 16;

/// The body of a `Ref` frame: where its extent lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtentRef {
    /// The extent's frame.
    pub lsn: Lsn,
    /// Header, key, chunk table and value, in bytes.
    pub bytes: u32,
}

impl ExtentRef {
    /// The body's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; EXTENT_REF_BYTES] {
        let mut bytes = [0; EXTENT_REF_BYTES];
        bytes[..8].copy_from_slice(&self.lsn.0.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.bytes.to_le_bytes());
        bytes
    }

    /// Reads a body; `None` when it has another length.
    #[must_use]
    pub fn decode(body: &[u8]) -> Option<Self> {
        let body: &[u8; EXTENT_REF_BYTES] = body.try_into().ok()?;
        let lsn = crate::frame::u64_at(body, 0);
        lsn.is_multiple_of(crate::lsn::ALIGN).then(|| Self {
            lsn: Lsn(lsn),
            bytes: crate::frame::u32_at(body, 8),
        })
    }
}
