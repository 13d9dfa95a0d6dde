//! Segments without files: numbers, as [`SegmentStore`](crate::segment::SegmentStore) gives them.

use std::collections::{BTreeSet, VecDeque};

use crate::buffer::{Class, Segments};
use crate::lsn::SegmentId;
use crate::segment::Reserve;
use crate::sync::Mutex;

/// The segments of a [`DryLog`](super::DryLog).
#[derive(Debug)]
pub struct DryFiles {
    max_files: u64,
    next_number: u64,
    /// The log's, the prepared ones among them, oldest first.
    live: VecDeque<SegmentId>,
    kept: BTreeSet<SegmentId>,
    reserve: Reserve,
    /// The log takes them while it holds all this by a shared reference.
    prepared: Mutex<VecDeque<SegmentId>>,
}

impl DryFiles {
    pub(super) fn new(max_files: u64) -> Self {
        Self {
            max_files,
            next_number: 1,
            live: VecDeque::new(),
            kept: BTreeSet::new(),
            reserve: Reserve::default(),
            prepared: Mutex::new(VecDeque::new()),
        }
    }

    /// The segment that the log begins in.
    pub(super) fn prepare_first(&mut self) -> Option<SegmentId> {
        self.prepare();
        self.take(Class::Meta)
    }

    /// Sets how many prepared segments are kept back from whom.
    pub fn set_reserve(&mut self, reserve: Reserve) {
        self.reserve = reserve;
    }

    /// How many segments there may be.
    #[must_use]
    pub fn max_files(&self) -> u64 {
        self.max_files
    }

    /// How many are in use by nothing.
    #[must_use]
    pub fn spare_files(&self) -> u64 {
        let used = self.live.len() + self.kept.len();
        self.max_files.saturating_sub(used as u64)
    }

    /// Segments that were begun so far: all that were prepared and taken, and all kept ones.
    #[must_use]
    pub fn begun(&self) -> u64 {
        self.next_number - 1 - self.prepared() as u64
    }

    /// Prepares one more segment for the log. False: no file is free.
    pub fn prepare(&mut self) -> bool {
        let Some(number) = self.take_number() else {
            return false;
        };
        self.live.push_back(number);
        self.prepared.get_mut().push_back(number);
        true
    }

    pub(super) fn take_kept(&mut self) -> Option<SegmentId> {
        let number = self.take_number()?;
        self.kept.insert(number);
        Some(number)
    }

    fn take_number(&mut self) -> Option<SegmentId> {
        if self.spare_files() == 0 {
            return None;
        }
        self.next_number += 1;
        Some(SegmentId(self.next_number - 1))
    }

    /// Segments ready to be written.
    #[must_use]
    pub fn prepared(&self) -> usize {
        self.prepared.lock().len()
    }

    /// The log's segments, the prepared ones among them, oldest first.
    #[must_use]
    pub fn live(&self) -> &VecDeque<SegmentId> {
        &self.live
    }

    /// The kept segments, by number.
    #[must_use]
    pub fn kept(&self) -> &BTreeSet<SegmentId> {
        &self.kept
    }

    /// Frees the log's segments up to `through`.
    pub fn release_through(&mut self, through: SegmentId) {
        while self.live.front().is_some_and(|oldest| *oldest <= through) {
            self.live.pop_front();
        }
    }

    /// Frees a kept segment.
    pub fn release_kept(&mut self, id: SegmentId) {
        self.kept.remove(&id);
    }
}

impl Segments for DryFiles {
    fn take(&self, class: Class) -> Option<SegmentId> {
        let mut prepared = self.prepared.lock();
        if prepared.len() > self.reserve.kept_from(class) {
            prepared.pop_front()
        } else {
            None
        }
    }

    fn has(&self, class: Class) -> bool {
        self.prepared.lock().len() > self.reserve.kept_from(class)
    }
}
