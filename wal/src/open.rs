//! From files in order to a running log.

use std::sync::Arc;

use perennial_failpoints::fs::{Dir, SharedMap};

use crate::contents::Contents;
use crate::core::{LogCore, Start};
use crate::error::{Result, WalError};
use crate::geometry::Geometry;
use crate::lsn::{ALIGN, Lsn, SegmentId};
use crate::repair::Mended;
use crate::scan::TailEvidence;
use crate::segment::{Reserve, SegmentStore};
use crate::tail::Tail;
use crate::tail_head::TailIdentity;

/// The tail's memory, before a log runs over it.
#[derive(Debug)]
pub struct TailMemory(Tail);

impl TailMemory {
    /// The smallest ring for a sector size.
    #[must_use]
    pub const fn min_ring_bytes(sector: u64) -> u64 {
        8 * sector
    }

    /// A tail in process memory: what it holds dies with the process.
    #[must_use]
    pub fn heap(ring_bytes: u64) -> Self {
        Self(Tail::heap(ring_bytes))
    }

    /// A tail over a mapped file of [`TAIL_HEAD_BYTES`](crate::TAIL_HEAD_BYTES) + `ring_bytes`.
    #[must_use]
    pub fn mapped(map: Box<dyn SharedMap>, ring_bytes: u64) -> Self {
        Self(Tail::mapped(map, ring_bytes))
    }

    /// What a dead process left in it. Another cache's tail, or another tail of this cache, is no evidence.
    #[must_use]
    pub fn evidence(
        &mut self,
        cache_id: u64,
        tail_id: u64,
        boot_id: Option<[u8; 16]>,
    ) -> TailEvidence<'_> {
        let ring_bytes = self.0.ring_bytes();
        let head = self
            .0
            .found_head()
            .filter(|head| head.is_of(cache_id, tail_id, ring_bytes));
        let same_boot = head.as_ref().is_some_and(|head| head.is_of_boot(boot_id));
        TailEvidence {
            head,
            same_boot,
            ring: self.0.found_ring(),
            moving: false,
        }
    }
}

/// The largest io buffer: the header word counts to 2 MiB.
const MAX_BUFFER_BYTES: u64 = (2 << 20) - 4096;

/// Bytes of an io buffer for a ring: a quarter of it, so that one can be filled while others are written.
pub(crate) fn buffer_bytes(ring_bytes: u64) -> u64 {
    (ring_bytes / 4).min(MAX_BUFFER_BYTES) / ALIGN * ALIGN
}

impl Mended {
    /// Starts the log over `tail`, which is reset: nothing it held counts any more.
    ///
    /// # Errors
    /// When there is no segment to begin in.
    pub fn start(
        self,
        mut tail: TailMemory,
        tail_id: u64,
        boot_id: Option<[u8; 16]>,
    ) -> Result<LogCore> {
        let Self {
            store,
            geometry,
            life,
            start,
        } = self;
        let (start, rows) = match start {
            Some(start) => start,
            None => (
                Lsn::new(
                    first_segment(&store)?,
                    geometry.data_begin(),
                    geometry.segment_bytes,
                ),
                Vec::new(),
            ),
        };
        let ring_bytes = tail.0.ring_bytes();
        let identity = TailIdentity {
            cache_id: life.cache_id,
            tail_id,
            incarnation: life.incarnation,
            ring_bytes,
            boot_id: boot_id.unwrap_or_default(),
        };
        perennial_failpoints::site!("wal::open::tail_reset");
        let complete = tail.0.reset(&identity, start);
        perennial_failpoints::site!("wal::open::tail_ready");
        let buffer_bytes = buffer_bytes(ring_bytes);
        LogCore::start(Start {
            geometry,
            life,
            tail: tail.0,
            complete,
            store,
            start,
            rows,
            buffer_bytes,
        })
    }
}

/// Prepares and takes a segment to begin in. Where every file is in use, the oldest is given up: a shorter log is right.
fn first_segment(store: &SegmentStore) -> Result<SegmentId> {
    use crate::buffer::{Class, Segments};
    store.set_reserve(Reserve::default());
    perennial_failpoints::site!("wal::open::first_segment");
    if store.prepared() == 0 && !store.prepare(Lsn(0))? {
        if let Some(oldest) = store.live().first().filter(|_| store.live().len() > 1) {
            store.release_through(oldest.header.number);
        }
        if !store.prepare(Lsn(0))? {
            return Err(store.why_no_file().unwrap_or(WalError::Full));
        }
    }
    store.take(Class::Meta).ok_or(WalError::Full)
}

/// Reads what is in `dir`, without a tail.
///
/// # Errors
/// When the directory cannot be listed.
pub fn read_without_tail(
    dir: &Arc<dyn Dir>,
    cache_id: u64,
    geometry: Geometry,
) -> Result<Contents<'_>> {
    Contents::read(&**dir, cache_id, geometry, TailEvidence::default())
}
