//! Keys, from where their entries lie: a frame's header and the key behind it, without the value.
//!
//! The header proves itself; the key is proved by its hash, which is in the header.

use perennial_wal::frame::{FrameHeader, FrameKind, HEADER_BYTES};
use perennial_wal::segment::Segment;
use perennial_wal::{Addr, TailRead, to_usize};

use crate::engine::Engine;
use crate::error::Result;
use crate::index::{Entry, size_class};

/// Heads that lie no further apart are read together with what is between them.
const GAP_BYTES: u64 = 32 << 10;
/// At most this much is read at once.
const PIECE_BYTES: u64 = 256 << 10;
/// So much of a frame is read for its header and key; where the key is longer, all of it by a read of its own.
const HEAD_BYTES: u64 = 256;

/// An entry, and where it lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spot {
    /// What the index knows of the key's hash.
    pub(crate) identity: u64,
    pub(crate) addr: Addr,
    pub(crate) class: u8,
}

/// A frame's header and key, proved.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) header: FrameHeader,
    pub(crate) key: Box<[u8]>,
}

/// What is at an entry's place in the tail.
pub(crate) enum InTail {
    Head(Head),
    /// It is being written.
    Pending,
    /// It is not there, or not there any more.
    Elsewhere,
}

/// How many of these spots, which ascend, are read together: at least the first one.
pub(crate) fn together(spots: &[Spot], segment_bytes: u64) -> usize {
    let Some(first) = spots.first() else {
        return 0;
    };
    let place = |spot: &Spot| spot.addr.position();
    let mut before = place(first);
    let near = |spot: &&Spot| {
        let at = place(spot);
        let near = spot.addr.is_kept() == first.addr.is_kept()
            && at.segment(segment_bytes) == place(first).segment(segment_bytes)
            && at.0 - before.0 <= GAP_BYTES
            && at.0 - place(first).0 <= PIECE_BYTES;
        before = at;
        near
    };
    1 + spots[1..].iter().take_while(near).count()
}

impl Engine {
    /// Reads what lies at these spots of one segment, which are read [together]. `None` for one that does not prove itself.
    pub(crate) fn heads(&self, segment: &Segment, spots: &[Spot]) -> Vec<Option<Head>> {
        let segment_bytes = self.log.geometry().segment_bytes;
        let offset = |spot: &Spot| spot.addr.position().offset(segment_bytes);
        let (Some(first), Some(last)) = (spots.first(), spots.last()) else {
            return Vec::new();
        };
        let begin = offset(first);
        let end = offset(last) + head_bytes(last.class);
        let bytes = self.read_heads(segment, begin, end.min(segment_bytes) - begin);
        let each = spots.iter().map(|spot| {
            let at = offset(spot);
            let frame = bytes.get(to_usize(at - begin)..).unwrap_or(&[]);
            self.prove(segment, spot, at, frame)
        });
        each.collect()
    }

    fn prove(&self, segment: &Segment, spot: &Spot, at: u64, frame: &[u8]) -> Option<Head> {
        let header = FrameHeader::decode(frame, segment.seed_at(at), at).ok()?;
        let len = to_usize(HEADER_BYTES) + usize::from(header.key_bytes);
        if frame.len() >= len {
            return self.head_of(spot.identity, &header, frame);
        }
        let frame = self.read_heads(segment, at, len as u64);
        (frame.len() == len).then(|| self.head_of(spot.identity, &header, &frame))?
    }

    fn read_heads(&self, segment: &Segment, offset: u64, len: u64) -> Vec<u8> {
        let read = self.log.store().read(segment, offset, to_usize(len));
        read.unwrap_or_else(|error| {
            tracing::warn!(%error, "keys cannot be read");
            self.counters.read_errors.add(1);
            Vec::new()
        })
    }

    /// Once more, past the page cache. `None`: the bytes do not prove themselves, or the media does not give them.
    ///
    /// # Errors
    /// When the system has no handle or no memory for a look: that says nothing of them.
    pub(crate) fn head_again(&self, segment: &Segment, spot: &Spot) -> Result<Option<Head>> {
        let segment_bytes = self.log.geometry().segment_bytes;
        let at = spot.addr.position().offset(segment_bytes);
        let longest = HEADER_BYTES + crate::engine::MAX_KEY_BYTES as u64;
        let class = u64::from(size_class::class_bound(spot.class));
        let len = longest.min(class).min(segment_bytes - at);
        let frame = match self.log.store().reread(segment, at, to_usize(len)) {
            Ok(frame) => frame,
            Err(error) if error.is_shortage() => return Err(error.into()),
            Err(_) => return Ok(None),
        };
        let Ok(header) = FrameHeader::decode(&frame, segment.seed_at(at), at) else {
            return Ok(None);
        };
        let whole = frame.len() >= to_usize(HEADER_BYTES) + usize::from(header.key_bytes);
        Ok(whole
            .then(|| self.head_of(spot.identity, &header, &frame))
            .flatten())
    }

    /// What is in the ring of an entry that is not stable yet.
    pub(crate) fn head_in_tail(&self, identity: u64, entry: &Entry) -> InTail {
        let at = entry.addr.position();
        let in_files = entry.addr.is_kept() || self.is_extent(entry.size_class);
        if in_files || at < self.log.stable_lsn() {
            return InTail::Elsewhere;
        }
        let read = self
            .log
            .read_tail(at, |header, frame| self.head_of(identity, header, frame));
        match read {
            TailRead::Frame(Some(head)) => InTail::Head(head),
            TailRead::Pending => InTail::Pending,
            TailRead::Frame(None) | TailRead::Gone | TailRead::Other => InTail::Elsewhere,
        }
    }

    fn head_of(&self, identity: u64, header: &FrameHeader, frame: &[u8]) -> Option<Head> {
        let entry = matches!(header.kind, FrameKind::Put | FrameKind::Extent);
        let key = entry.then(|| header.key(frame))?;
        let ours = self.index.identity(header.hash) == identity && self.hash(key) == header.hash;
        ours.then(|| Head {
            header: *header,
            key: key.into(),
        })
    }
}

pub(crate) fn head_bytes(class: u8) -> u64 {
    u64::from(size_class::class_bound(class)).min(HEAD_BYTES)
}
