//! Zeros ahead of small commits.
//!
//! Space that a file was given and that nobody wrote yet is *unwritten* to the file system. The first write there changes the
//! file's metadata, which the sync of a commit then writes, too: a transaction of the journal beside the entry, and the
//! device flushed twice. Once a few small commits came to a segment whose space is new, the next ones find it written, by
//! zeros, which a sync along with an entry makes durable. (PostgreSQL fills its log's files with zeros for that:
//! `wal_init_zero`.)
//!
//! ```text
//!  | header | frames ........ | reserved | zeros, up to a MiB        | unwritten              | rows, trailer |
//!           written through ──┘          └─ from here: nothing is reserved, so nothing was written
//! ```
//! A place that reads zeros held nothing before, so zeros say nothing that unwritten space did not. What must not be is that
//! they come over something: frames of the ring are written by whoever holds the flush state, like these, but an extent by
//! its own writer, and before its turn (I16).

use super::{FlushState, OpenSegment};
use crate::aligned::AlignedBuf;
use crate::core::LogCore;
use crate::error::Result;
use crate::lsn::{align_up, to_usize};

/// So far ahead.
const AHEAD: u64 = 1 << 20;
/// A commit is small up to this size. Of larger ones the metadata is a small part, and the zeros, as many bytes as the
/// commits, take longer.
const SMALL: u64 = 64 << 10;
/// The first small commits in a segment get no zeros: a flush now and then is not worth a MiB.
const FIRST: u32 = 4;

/// How much of a segment's space was written before.
#[derive(Debug)]
pub(super) struct Written {
    /// The space below this offset.
    through: u64,
    /// Small commits so far that went on behind it.
    small: u32,
}

impl Written {
    /// Of a file that is used again, all of it; else it is not known.
    pub(super) fn of(used_before: bool) -> Self {
        let through = if used_before { u64::MAX } else { 0 };
        Self { through, small: 0 }
    }
}

impl LogCore {
    /// Between a commit's writes and its sync.
    pub(crate) fn write_ahead(&self, state: &mut FlushState) {
        let geometry = self.geometry();
        let next = state.next_seq;
        let written = self
            .buffers()
            .end_before(self.tail(), &mut state.passed, next);
        let id = written.segment(geometry.segment_bytes);
        let Some(open) = state.open.get_mut(&id) else {
            return;
        };
        let end = align_up(written.offset(geometry.segment_bytes), geometry.sector);
        let far = end.saturating_add(AHEAD / 2) <= open.written.through;
        if far || state.unsynced > SMALL || open.data_end.is_some() {
            return;
        }
        open.written.small += 1;
        if open.written.small <= FIRST {
            return;
        }
        // Nothing depends on them: where they cannot be written there are none. What is wrong with the disk shows when a
        // frame comes.
        let through = self.write_zeros(open, end).unwrap_or_else(|error| {
            tracing::info!(%error, "no zeros ahead of commits here");
            u64::MAX
        });
        open.written.through = through;
    }

    /// Up to where there are zeros now.
    fn write_zeros(&self, open: &OpenSegment, end: u64) -> Result<u64> {
        // Whoever reserves an extent from here on writes it once the zeros are there.
        let _zeros_first = self.extents_wait().lock();
        let geometry = self.geometry();
        let reserved = self.reserved_end();
        if reserved.segment(geometry.segment_bytes) != open.id {
            return Ok(open.written.through);
        }
        let mut from = align_up(reserved.offset(geometry.segment_bytes), geometry.sector);
        if perennial_failpoints::planted!("zeros-over-what-is-reserved") {
            from = end;
        }
        let from = from.max(open.written.through);
        let to = (end + AHEAD).min(geometry.segment_bytes);
        if from < to {
            perennial_failpoints::site!("wal::flusher::zeros");
            let zeros = AlignedBuf::zeroed(to_usize(to - from));
            open.writer.write(&zeros, from)?;
        }
        Ok(to)
    }
}
