//! Values too large for the ring: the extent first, then the reference that makes it an entry.
//!
//! ```text
//!   extent in segment n ── others write, as much as they like ──▶ reference in segment n, n + 1, ... or never
//!                              └ n is reclaimed: from there on a reference comes too late, and the value is written again
//! ```
//! Between the two no lock is held, and the reference may have to wait for room. So it may lie any number of segments
//! behind its extent; but none comes to an extent whose segment is being reclaimed or is gone (I12).

use std::sync::Arc;

use perennial_wal::frame::FrameKind;
use perennial_wal::{Class, EXTENT_REF_BYTES, ExtentRef, FrameSpec, Refused, to_u32};

use super::{Placed, Placing};
use crate::engine::Engine;
use crate::error::Result;
use crate::fetch::Flight;

impl Engine {
    /// Writes key and value as an extent and places its reference.
    pub(super) fn place_large(
        &self,
        spec: FrameSpec,
        (key, value): (&[u8], &[u8]),
        only_for: Option<&Arc<Flight>>,
        at_once: bool,
    ) -> Result<(Placed<'_>, Option<ExtentRef>)> {
        loop {
            let Some(extent) = self.write_extent(spec, key, value, at_once)? else {
                return Ok((Placed::NoRoom, None));
            };
            perennial_failpoints::site!("write::large::written");
            let placing = Placing {
                key,
                hash: spec.hash,
                spec: reference_spec(spec.hash, spec.flags),
                extent: Some(extent),
                only_for,
                expiry: spec.expiry,
            };
            match self.place(&placing, at_once)? {
                // Once for each lap of the log that others go meanwhile.
                Placed::TooLate => {}
                placed => return Ok((placed, Some(extent))),
            }
        }
    }

    /// `None`: there is no room, and it is not waited for.
    fn write_extent(
        &self,
        spec: FrameSpec,
        key: &[u8],
        value: &[u8],
        at_once: bool,
    ) -> Result<Option<ExtentRef>> {
        if at_once && !self.leaves_room_to_removes(&spec) {
            return Ok(None);
        }
        loop {
            match self.log.append_extent(spec, key, value) {
                Ok(extent) => return Ok(Some(extent)),
                Err(Refused::NoRoom(_)) if at_once => return Ok(None),
                Err(refused) => self.noting(self.answer(refused, Class::Put))?,
            }
        }
    }

    /// An extent's class is always beyond the ring's, whatever its size: options may have changed since.
    pub(crate) fn extent_read_bytes(&self, extent: ExtentRef) -> u64 {
        u64::from(extent.bytes).max(self.max_ring_frame() + 1)
    }
}

/// The reference of an extent with these flags: it has the same priority, for the trailer's row is of the reference.
pub(crate) fn reference_spec(hash: u64, flags: u8) -> FrameSpec {
    FrameSpec {
        kind: FrameKind::Ref,
        hash,
        key_bytes: 0,
        value_bytes: to_u32(EXTENT_REF_BYTES),
        expiry: 0,
        flags: flags & perennial_wal::frame::flags::PRIORITY,
    }
}
