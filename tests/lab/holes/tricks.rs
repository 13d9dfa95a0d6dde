//! What the holes need and a plain script has not: a writer in the middle of its copy, files that get lost, bits that rot,
//! fetches that are overtaken, options that change from one open to the next.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use perennial::{Cache, Options};
use perennial_failpoints::Fs;
use perennial_failpoints::lab::{Driver, key};

use super::on_disk::{self, Directory};
use super::played::Played;
use crate::driver::Perennial;

/// A step: somebody begins to insert a key that nobody else has, and is slow: others reserve behind.
pub(super) const BEGIN_SLOW: u8 = 10;
/// A step: that one is finished.
pub(super) const END_SLOW: u8 = 11;
/// A step: the file that holds the newest value of [`TARGET`] is lost.
pub(super) const LOSE: u8 = 12;
/// A step: a bit of the newest value of [`TARGET`] rots, in its segment.
pub(super) const ROT: u8 = 13;
/// A step: the same in the tail.
pub(super) const ROT_TAIL: u8 = 14;
/// A step: a bit in front of its key rots in the tail, and the next flush has to tell.
pub(super) const ROT_HEADER_AND_FLUSH: u8 = 15;

/// The key that tricks are played on.
pub(super) const TARGET: u8 = 9;

/// The cache, and what is played on it.
#[derive(Default)]
pub(super) struct Tricks {
    /// One of these for each open, in turn.
    pub(super) options: Vec<Options>,
    pub(super) opens: AtomicUsize,
    /// What the directory may take; it is looked at after every operation.
    pub(super) at_most_bytes: Option<u64>,
    /// The disk is full when there are so many segment files.
    pub(super) segment_files_at_most: Option<u32>,
    /// What an open may replay.
    pub(super) replays_at_most: Option<u64>,
    /// Plain puts of [`TARGET`] are half done while others fill segments and a checkpoint comes due.
    pub(super) slow_puts: bool,
    /// Of the keys 3 to 8, put in this order, those that are found are the first ones.
    pub(super) in_order: bool,
    /// Before the first open another cache was here, on the same blocks of the disk, and is gone.
    pub(super) littered: bool,
    /// A put where nothing is comes in the middle of a fetch of something else; so does a remove of nothing.
    pub(super) overtakes_fetches: bool,
}

impl Tricks {
    pub(super) fn on(options: Options) -> Self {
        let options = vec![options];
        Self {
            options,
            ..Self::default()
        }
    }
}

impl Driver for Tricks {
    type Store = Played;

    fn open(&self, fs: Arc<dyn Fs>) -> Result<Played, String> {
        let turn = self.opens.fetch_add(1, Ordering::Relaxed);
        let options = self.options[turn % self.options.len()].clone();
        if self.littered {
            on_disk::litter(&fs, &options);
        }
        let fs = match self.segment_files_at_most {
            Some(most) => on_disk::full_behind(fs, most),
            None => fs,
        };
        let open = Perennial(options).open(Arc::clone(&fs))?;
        let played = Played::new(open, Directory::new(fs)?, self);
        played.measure()?;
        self.check(played.cache()?)?;
        Ok(played)
    }
}

impl Tricks {
    fn check(&self, cache: &Cache) -> Result<(), String> {
        let stats = cache.stats();
        if self
            .replays_at_most
            .is_some_and(|most| stats.replayed > most)
        {
            return Err(format!("it replayed {} operations", stats.replayed));
        }
        if self.littered && stats.quarantined_files > 0 {
            return Err(format!("its own files pass for others': {stats}"));
        }
        let keys = (3..=8).filter(|_| self.in_order);
        let found = keys.map(|number| cache.contains(key(number)));
        let found = found.collect::<Result<Vec<_>, _>>();
        let found = found.map_err(|e| e.to_string())?;
        if !found.is_sorted_by(|before, after| before >= after) {
            return Err(format!(
                "a later put is there without an earlier one: {found:?}"
            ));
        }
        Ok(())
    }
}
