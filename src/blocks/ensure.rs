//! Fetching a range ahead of its use.

use std::collections::VecDeque;
use std::ops::{ControlFlow, Range, RangeInclusive};
use std::sync::Arc;

use bytes::Bytes;

use crate::blocks::boarded::Boarded;
use crate::blocks::flights::Landing;
use crate::blocks::origin::Head;
use crate::blocks::read::{Reading, Stopped, TRIES, keeps_changing, lost};
use crate::blocks::request::{Priority, ReadOptions, Revalidate};
use crate::blocks::shared::Shared;
use crate::blocks::wait::{Cancel, Parker};
use crate::error::{Error, Result};

/// How far [`ensure_cached`](crate::blocks::BlockCache::ensure_cached) has come, or how it ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Blocks of the range.
    pub total_blocks: u64,
    /// Of these, blocks that are dealt with.
    pub done_blocks: u64,
    /// Of these, blocks that were fetched.
    pub fetched_blocks: u64,
    /// Of these, blocks that could not be kept.
    pub not_kept: u64,
}

impl Progress {
    /// True when every block of the range was there or is now.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.done_blocks == self.total_blocks && self.not_kept == 0
    }
}

impl Shared {
    pub(super) fn ensure(
        self: &Arc<Self>,
        object: &str,
        range: &Range<u64>,
        options: &ReadOptions,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Progress> {
        let mut options = options.clone().populate(true);
        if options.priority == Priority::Foreground {
            options.priority = Priority::Background;
        }
        for _ in 0..TRIES {
            let head = self.head(object, &options)?;
            Self::check_range(object, &head, range)?;
            if range.is_empty() {
                return Ok(Progress::default());
            }
            match self.ensure_version(object, &head, range, &options, progress) {
                Ok(done) => return Ok(done),
                Err(Stopped::Error(error)) => return Err(error),
                Err(Stopped::Changed) => options.revalidate = Revalidate::Always,
            }
        }
        Err(keeps_changing(object))
    }

    fn ensure_version(
        self: &Arc<Self>,
        object: &str,
        head: &Head,
        range: &Range<u64>,
        options: &ReadOptions,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> std::result::Result<Progress, Stopped> {
        perennial_wal::may_wait().map_err(Error::from)?;
        let mut reading = Reading {
            object,
            head,
            options,
            keys: self.keys(object, head)?,
        };
        let touched = reading
            .keys
            .cut
            .touched(range.start, range.end - range.start);
        let parker = Arc::new(Parker::default());
        let cancel = options.cancel.as_ref();
        let _wakes = cancel.map(|cancel| cancel.wakes(&parker));
        let mut done = Progress {
            total_blocks: touched.end() - touched.start() + 1,
            ..Progress::default()
        };
        // As much under way as the threads can do, and no more.
        let window = self.plan.run_blocks * (self.plan.threads as u64).max(1);
        let mut waiting: VecDeque<(u64, Boarded<Bytes>)> = VecDeque::new();
        let mut next = *touched.start();
        let mut tries = TRIES;
        while done.done_blocks < done.total_blocks {
            if cancel.is_some_and(Cancel::is_cancelled) {
                return Err(self.was_cancelled());
            }
            if next <= *touched.end() && (waiting.len() as u64) < window {
                let last = (next + self.plan.run_blocks - 1).min(*touched.end());
                let begun = self.begin(&mut reading, &(next..=last), &parker);
                done.done_blocks += last - next + 1 - begun.len() as u64;
                waiting.extend(begun);
                next = last + 1;
            } else if let Some((number, boarded)) = waiting.pop_front() {
                match boarded.landed(cancel) {
                    Some(Landing::Good(_)) => {}
                    Some(Landing::Failed(error)) => return Err(Stopped::Error(error)),
                    Some(Landing::Changed) => return Err(Stopped::Changed),
                    Some(Landing::Lost) if tries == 0 => return Err(Stopped::Error(lost(object))),
                    Some(Landing::Lost) => {
                        tries -= 1;
                        let begun = self.begin(&mut reading, &(number..=number), &parker);
                        done.done_blocks += 1 - begun.len() as u64;
                        waiting.extend(begun);
                        continue;
                    }
                    None => return Err(self.was_cancelled()),
                }
                let kept = boarded.over(cancel).ok_or_else(|| self.was_cancelled())?;
                done.done_blocks += 1;
                done.fetched_blocks += 1;
                done.not_kept += u64::from(!kept);
            }
            if progress(done).is_break() {
                break;
            }
        }
        Ok(done)
    }

    /// Boards what is not there.
    fn begin(
        self: &Arc<Self>,
        reading: &mut Reading<'_>,
        blocks: &RangeInclusive<u64>,
        parker: &Arc<Parker>,
    ) -> Vec<(u64, Boarded<Bytes>)> {
        let landings = self.flights.landings();
        let mut missing: Vec<u64> = blocks.clone().collect();
        missing.retain(|number| !self.has(&mut reading.keys, *number));
        let boarded = self.board(reading, &missing, parker, landings);
        missing.into_iter().zip(boarded).collect()
    }
}
