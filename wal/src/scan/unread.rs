//! Headers that the media did not give: nobody knows which numbers their segments have, and they may be read again one day.
//!
//! A life that gave one of these numbers a second time would have, at the next recovery, a segment of the life before it in
//! its log, or behind its end. So its numbers begin further on than any of them can be, and its join gives up all in between
//! (PROTOCOL hole 10).

use super::Found;
use crate::error::{Result, WalError};
use crate::geometry::Geometry;
use crate::lsn::REACH_BYTES;

/// So much log may have been written since the newest header that can be read: many times what a cache has files for that
/// are of one age, and little of what addresses can be told apart in.
const MOST_UNKNOWN_BYTES: u64 = REACH_BYTES / 64;

/// How many there are, and the first reason.
#[derive(Debug, Default)]
pub(crate) struct Unread {
    headers: u64,
    why: Option<WalError>,
}

impl Unread {
    pub(super) fn count(&mut self, lost: Option<WalError>) {
        self.headers += u64::from(lost.is_some());
        self.why = self.why.take().or(lost);
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.headers == 0
    }

    /// The largest number that any segment can have where `newest` is known; 0, which is none, bounds nothing.
    pub(super) fn leave_room(&self, newest: u64, geometry: Geometry) -> u64 {
        if self.is_empty()
            || newest == 0
            || perennial_failpoints::planted!("unknown-numbers-given-again")
        {
            return newest;
        }
        // Those that count lie one behind the other in the log, or beside it where they are kept.
        newest + 2 * self.headers + MOST_UNKNOWN_BYTES / geometry.segment_bytes
    }
}

impl Found {
    /// Fails where headers could not be read and nothing bounds their numbers. To open the cache would forget all of it; to
    /// try again costs nothing.
    pub(crate) fn check_bounded(&self) -> Result<()> {
        let nothing_known = self.max_number == 0;
        let why = self.unread.why.as_ref().filter(|_| nothing_known);
        why.cloned().map_or(Ok(()), Err)
    }
}
