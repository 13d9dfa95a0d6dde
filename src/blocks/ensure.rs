//! Fetching a range ahead of its use.

use std::collections::VecDeque;
use std::ops::{ControlFlow, Range, RangeInclusive};
use std::sync::Arc;

use bytes::Bytes;
use perennial_wal::to_usize;

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

/// A range on its way into the cache, in windows: as much under way as the threads can do, and no more.
pub(super) struct Warming {
    next: u64,
    end: u64,
    run_blocks: u64,
    window: usize,
    waiting: VecDeque<(u64, Boarded<Bytes>)>,
    tries: usize,
    pub(super) done: Progress,
}

/// What is to be done for it.
pub(super) enum Step {
    /// These are looked for, and what is missing is boarded.
    Look(RangeInclusive<u64>),
    /// This one lands, and is over.
    Wait(u64, Boarded<Bytes>),
    Done,
}

impl Warming {
    pub(super) fn new(shared: &Shared, reading: &Reading<'_>, range: &Range<u64>) -> Self {
        let cut = reading.keys.cut;
        let touched = cut.touched(range.start, range.end - range.start);
        let run_blocks = shared.plan.run_blocks;
        let window = run_blocks * (shared.plan.threads as u64).max(1);
        Self {
            next: *touched.start(),
            end: touched.end() + 1,
            run_blocks,
            window: to_usize(window),
            waiting: VecDeque::new(),
            tries: TRIES,
            done: Progress {
                total_blocks: touched.end() - touched.start() + 1,
                ..Progress::default()
            },
        }
    }

    pub(super) fn step(&mut self) -> Step {
        if self.next < self.end && self.waiting.len() < self.window {
            let first = self.next;
            self.next = self.end.min(first + self.run_blocks);
            return Step::Look(first..=self.next - 1);
        }
        match self.waiting.pop_front() {
            Some((number, boarded)) => Step::Wait(number, boarded),
            None => Step::Done,
        }
    }

    /// So many blocks were looked for, and these were missing.
    pub(super) fn begun(&mut self, looked: u64, missing: Vec<(u64, Boarded<Bytes>)>) {
        self.done.done_blocks += looked - missing.len() as u64;
        self.waiting.extend(missing);
    }

    /// True: it has to be begun anew.
    pub(super) fn is_lost(
        &mut self,
        object: &str,
        landing: Landing<Bytes>,
    ) -> std::result::Result<bool, Stopped> {
        match landing {
            Landing::Good(_) => Ok(false),
            Landing::Failed(error) => Err(Stopped::Error(error)),
            Landing::Changed => Err(Stopped::Changed),
            Landing::Lost if self.tries == 0 => Err(Stopped::Error(lost(object))),
            Landing::Lost => {
                self.tries -= 1;
                Ok(true)
            }
        }
    }

    pub(super) fn over(&mut self, kept: bool) {
        self.done.done_blocks += 1;
        self.done.fetched_blocks += 1;
        self.done.not_kept += u64::from(!kept);
    }
}

/// As it was asked for, by somebody who is in no hurry.
pub(super) fn patiently(options: &ReadOptions) -> ReadOptions {
    let mut options = options.clone().populate(true);
    if options.priority == Priority::Foreground {
        options.priority = Priority::Background;
    }
    options
}

impl Shared {
    pub(super) fn ensure(
        self: &Arc<Self>,
        object: &str,
        range: &Range<u64>,
        options: &ReadOptions,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Progress> {
        let mut options = patiently(options);
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
        let parker = Arc::new(Parker::default());
        let cancel = options.cancel.as_ref();
        let _wakes = cancel.map(|cancel| cancel.wakes(&parker));
        let mut warming = Warming::new(self, &reading, range);
        loop {
            if cancel.is_some_and(Cancel::is_cancelled) {
                return Err(self.was_cancelled());
            }
            let blocks = match warming.step() {
                Step::Done => return Ok(warming.done),
                Step::Look(blocks) => Some(blocks),
                Step::Wait(number, boarded) => {
                    let landing = boarded.landed(cancel);
                    let landing = landing.ok_or_else(|| self.was_cancelled())?;
                    if warming.is_lost(object, landing)? {
                        Some(number..=number)
                    } else {
                        let kept = boarded.over(cancel);
                        warming.over(kept.ok_or_else(|| self.was_cancelled())?);
                        None
                    }
                }
            };
            if let Some(blocks) = blocks {
                let begun = self.begin(&mut reading, &blocks, &parker);
                warming.begun(blocks.end() - blocks.start() + 1, begun);
            }
            if progress(warming.done).is_break() {
                return Ok(warming.done);
            }
        }
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
