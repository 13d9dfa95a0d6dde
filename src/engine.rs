//! What all handles of an open cache share.

use std::sync::Arc;

use perennial_failpoints::fs::{Fs, LockGuard};
use perennial_wal::frame::{FrameKind, HEADER_BYTES};
use perennial_wal::{
    ALIGN, Addr, Class, FrameSpec, LogCore, Lsn, NoRoom, Signal, WalError, may_wait,
};
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::checkpoint::CheckpointState;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::fetch::Flights;
use crate::health::{Gate, Keeper, Unlogged};
use crate::index::{Index, size_class};
use crate::ledger::Ledger;
use crate::loading::Loading;
use crate::options::Plan;
use crate::pace::Pace;
use crate::pins::Pins;
use crate::reclaim::Duel;
use crate::references::References;
use crate::stats::{Counters, Stats};
use crate::sync::{AtomicBool, AtomicU64, Mutex, Ordering};
use crate::tier::Tier;
use crate::times::AllTimes;

/// Keys are at most this long.
pub(crate) const MAX_KEY_BYTES: usize = 65_535;

pub(crate) struct Engine {
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) log: Arc<LogCore>,
    pub(crate) index: Index<Flights>,
    pub(crate) tier: Tier,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) counters: Counters,
    pub(crate) times: AllTimes,
    /// Who of the policy wants to hear of reads and inserts.
    pub(crate) sampler: Option<Arc<Duel>>,
    pub(crate) plan: Plan,
    /// The largest frame that goes through the ring: the largest class bound that the io buffers take. Found once, for
    /// every insert asks.
    pub(crate) ring_frame: u64,
    pub(crate) clock: Clock,
    pub(crate) pins: Arc<Pins>,
    /// What the open left to be loaded.
    pub(crate) loading: Option<Arc<Loading>>,
    pub(crate) hash_seed: u64,
    /// One at a time: preparing segments, reclaiming them, checkpoints.
    pub(crate) upkeep: Mutex<CheckpointState>,
    pub(crate) signal: Signal,
    pub(crate) pace: Pace,
    /// The end of the newest segment that an address was seen in, in units of [`ALIGN`] bytes.
    pub(crate) horizon: AtomicU64,
    /// Where the log's young part begins: reads of what lies there or behind are no visits.
    pub(crate) young_from: AtomicU64,
    pub(crate) gate: Gate,
    pub(crate) health: Keeper,
    /// What is kept after the log has failed.
    pub(crate) unlogged: Unlogged,
    /// Up to here the newest checkpoint knows everything.
    pub(crate) nothing_new_below: AtomicU64,
    /// Hashes of entries that were dropped because their bytes did not prove themselves: they may after a restart.
    pub(crate) dropped_unread: Mutex<Vec<u64>>,
    /// Of large values.
    pub(crate) references: References,
    /// Somebody who does not wait found the tail full.
    pub(crate) room_wanted: AtomicBool,
    /// What the open found; its counters are 0.
    pub(crate) opened: Stats,
    /// Bytes in the directory that are not segments.
    pub(crate) other_bytes: u64,
    /// Bytes of these that are not this cache's.
    pub(crate) foreign_bytes: u64,
    /// What all files together may take.
    pub(crate) capacity: AtomicU64,
    /// As many segment files are in that; on the way there may be more.
    pub(crate) files_wanted: AtomicU64,
    /// Held as long as the cache is open: the directory's lock, and the tail's where it lies elsewhere.
    pub(crate) _locks: Vec<Box<dyn LockGuard>>,
}

impl Engine {
    /// The hash of a key: the low half of xxh3-128 under the cache's secret seed.
    #[inline]
    pub(crate) fn hash(&self, key: &[u8]) -> u64 {
        hash_of(key, self.hash_seed)
    }

    #[inline]
    pub(crate) fn check_open(&self) -> Result<()> {
        if self.gate.is_open() {
            Ok(())
        } else {
            Err(self.why_not_open())
        }
    }

    #[inline]
    pub(crate) fn check_key(key: &[u8]) -> Result<()> {
        #[cold]
        fn refused(len: usize) -> Error {
            Error::invalid(format!(
                "a key has 1 to {MAX_KEY_BYTES} bytes; this one has {len}"
            ))
        }
        if (1..=MAX_KEY_BYTES).contains(&key.len()) {
            Ok(())
        } else {
            Err(refused(key.len()))
        }
    }

    /// True while the segment that `addr` lies in counts.
    #[inline]
    pub(crate) fn is_live(&self, addr: Addr) -> bool {
        let segment_bytes = self.log.geometry().segment_bytes;
        let store = self.log.store();
        if addr.is_kept() {
            store.is_kept(addr.position().segment(segment_bytes))
        } else {
            // Where the oldest begins, for every read asks: a multiplication, not a division.
            addr.position() >= Lsn::new(store.oldest(), 0, segment_bytes)
        }
    }

    /// True when a frame of this size class went straight to its segment and never was in the ring. The largest ring
    /// frame is the largest bound that the io buffers take, so the class tells.
    pub(crate) fn is_extent(&self, class: u8) -> bool {
        u64::from(size_class::class_bound(class)) > self.log.max_ring_frame()
    }

    /// The largest frame that goes through the ring.
    pub(crate) fn max_ring_frame(&self) -> u64 {
        self.ring_frame
    }

    /// False for a frame that has to be an extent, or is too large for a checkpoint.
    pub(crate) fn goes_through_the_ring(&self, spec: &FrameSpec) -> bool {
        spec.header().frame_bytes(1) <= self.max_ring_frame()
    }

    /// Notes that an address in this kept segment is about to be stored.
    pub(crate) fn raise_kept_horizon(&self, addr: Addr) {
        let geometry = self.log.geometry();
        let segment = addr.position().segment(geometry.segment_bytes);
        let end = (segment.0 + 1) * geometry.segment_bytes / ALIGN;
        self.index.set_horizon(true, end);
    }

    /// Notes that an address beyond the newest segment so far is about to be stored. True when a segment was entered.
    #[inline]
    pub(crate) fn raise_horizon(&self, addr: Addr) -> bool {
        addr.units() >= self.horizon.load(Ordering::Relaxed) && self.enter_segment(addr)
    }

    #[cold]
    fn enter_segment(&self, addr: Addr) -> bool {
        let geometry = self.log.geometry();
        let segment = addr.position().segment(geometry.segment_bytes);
        let end = (segment.0 + 1) * geometry.segment_bytes / ALIGN;
        self.index.set_horizon(false, end);
        self.horizon.fetch_max(end, Ordering::Relaxed) < end
    }

    /// True when a read of the entry there is a visit.
    pub(crate) fn counts_as_visit(&self, addr: Addr) -> bool {
        addr.is_kept() || addr.position().0 < self.young_from.load(Ordering::Relaxed)
    }

    /// Makes room for a reservation that found none. Called outside all locks.
    pub(crate) fn make_room(&self, no_room: NoRoom, class: Class) -> Result<()> {
        may_wait()?;
        self.noting(match no_room {
            NoRoom::Ring => self.timed(&self.times.wait_tail, || {
                self.log.make_ring_room().map_err(Error::from)
            }),
            NoRoom::Segment => {
                self.timed(&self.times.wait_segment, || self.make_segment_room(class))
            }
        })
    }

    /// Returns once everything below `end` is durable.
    pub(crate) fn make_durable(&self, end: Lsn) -> Result<()> {
        let waited = || self.log.make_stable(end);
        self.acknowledged(self.timed(&self.times.wait_commit, waited))
    }

    /// Returns once everything that returned before is durable.
    pub(crate) fn flush(&self) -> Result<()> {
        self.check_open()?;
        let flushed = || self.log.flush();
        self.acknowledged(self.timed(&self.times.flush, flushed))
            .map(drop)
    }

    fn acknowledged<T>(&self, stable: std::result::Result<T, WalError>) -> Result<T> {
        self.counters.failed_acks.add(u64::from(stable.is_err()));
        self.noting(stable.map_err(Error::from))
    }

    /// Work that is due, where no thread does it.
    #[inline]
    pub(crate) fn after_operation(&self, entered_segment: bool) {
        if entered_segment || self.index.filters_are_stale() {
            self.do_what_is_due(entered_segment);
        }
    }

    #[cold]
    fn do_what_is_due(&self, entered_segment: bool) {
        self.tell_of_stale_filters();
        if self.index.filters_are_stale() && !self.plan.background {
            self.refresh_filters();
        }
        if !entered_segment {
            return;
        }
        if self.plan.background {
            self.signal.wake();
            return;
        }
        // Inside a closure that fills an entry it is left to whoever enters the next segment.
        if may_wait().is_ok()
            && let Err(error) = self.upkeep_step()
        {
            // The operation itself is done; whoever needs the room next is told.
            tracing::warn!(%error, "upkeep failed");
        }
    }

    /// Filters that let too much through are the upkeep's; without a thread for it, those who write do it.
    #[inline]
    pub(crate) fn tell_of_stale_filters(&self) {
        if self.index.filters_are_stale() {
            self.tell_the_upkeep_of_filters();
        }
    }

    #[cold]
    fn tell_the_upkeep_of_filters(&self) {
        if self.plan.background && self.index.tells_of_stale_filters() {
            self.signal.wake();
        }
    }

    pub(crate) fn refresh_filters(&self) {
        self.index.refresh_filters(&|addr| self.is_live(addr));
    }

    /// Entries that count. Of shards that are still to be loaded, those of their images: some of these may have been replaced
    /// or removed since.
    pub(crate) fn entries(&self) -> u64 {
        let waiting = self.loading.as_ref().map_or(0, |loading| loading.waiting());
        self.ledger.live() + waiting
    }

    pub(crate) fn stats(&self) -> Stats {
        let reads = self.index.read_stats();
        let counted = self.counters.snapshot(&self.opened);
        let plain = self.index.entered();
        Stats {
            hits_tail: reads.hits_tail,
            hits_memory: reads.hits_memory,
            hits_disk: reads.hits_disk,
            misses: reads.misses.saturating_sub(counted.hits_unlogged),
            health: self.health(),
            times: self.times.told(),
            inserts: counted.inserts + plain.entries,
            insert_bytes: counted.insert_bytes + plain.bytes,
            stored_bytes: counted.stored_bytes + plain.bytes,
            entries: self.entries(),
            entries_to_load: self.loading.as_ref().map_or(0, |loading| loading.waiting()),
            lost_in_loading: self.loading.as_ref().map_or(0, |loading| loading.lost()),
            pinned_entries: self.pins.entries(),
            pinned_bytes: self.pins.bytes(),
            segments: self.log.store().live().len() as u64,
            max_segments: self.log.store().max_files(),
            file_bytes: self.log.store().file_bytes() + self.other_bytes,
            capacity_bytes: self.capacity.load(Ordering::Relaxed),
            index_bytes: self.index.memory_bytes() as u64,
            bloom_probes: reads.reads(),
            bloom_negatives: reads.negatives,
            bloom_false_positives: reads.false_positives,
            bloom_rebuilds: self.index.filter_rebuilds(),
            ..counted
        }
    }
}

/// The hash of a key under the seed of its cache.
#[inline]
pub(crate) fn hash_of(key: &[u8], seed: u64) -> u64 {
    // No bug: the rarest luck there is, for the one that needs it.
    if perennial_failpoints::planted!("all-keys-collide") {
        return 7;
    }
    let hash = xxh3_128_with_seed(key, seed);
    let [low @ .., _, _, _, _, _, _, _, _] = hash.to_le_bytes();
    u64::from_le_bytes(low)
}

/// The largest frame that a cache sends through io buffers that take frames of so many bytes.
#[cfg_attr(
    not(feature = "model"),
    allow(unreachable_pub, reason = "public for the trace replayer")
)]
#[must_use]
pub fn largest_ring_frame(bytes: u64) -> u64 {
    match size_class::largest_within(bytes) {
        0 => 0,
        class => u64::from(size_class::class_bound(class)),
    }
}

/// The frame of this key and a value of `value_bytes`.
pub(crate) fn put_spec(hash: u64, key: &[u8], value_bytes: u32) -> FrameSpec {
    let key_bytes = u16::try_from(key.len()).unwrap_or(u16::MAX);
    FrameSpec {
        kind: FrameKind::Put,
        hash,
        key_bytes,
        value_bytes,
        expiry: 0,
        flags: 0,
    }
}

/// Bytes to read to have the whole frame, without the alignment.
pub(crate) fn read_bytes(spec: &FrameSpec) -> u64 {
    HEADER_BYTES + spec.header().body_bytes()
}
