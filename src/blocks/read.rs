//! A read: what is in the cache, and then what is not.

use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use perennial_wal::to_usize;

use crate::blocks::asking::MOST_BYTES;
use crate::blocks::flights::Landing;
use crate::blocks::heads::Known;
use crate::blocks::key::{Cut, Keys};
use crate::blocks::origin::{Head, Opened};
use crate::blocks::request::{Priority, ReadOptions, Revalidate};
use crate::blocks::shared::{Shared, cancelled};
use crate::blocks::wait::{Cancel, Parker};
use crate::error::{Error, ErrorKind, Result};

/// Times that a read begins anew because the object has changed, or its thread was lost.
pub(super) const TRIES: usize = 8;

/// Of what came with the first answer so much is asked for: what one read of the origin may be, twice, so that a read of
/// that length which begins within a block is one.
const WANTED_RUNS: u64 = 2;

/// What is read, and how.
pub(super) struct Reading<'a> {
    pub(super) object: &'a str,
    pub(super) head: &'a Head,
    pub(super) options: &'a ReadOptions,
    pub(super) keys: Keys,
}

/// Why a read could not be done.
pub(super) enum Stopped {
    Error(Error),
    /// The object has another version.
    Changed,
}

impl Stopped {
    /// To a caller who wants this version and no other.
    pub(super) fn told(self, object: &str, head: &Head) -> Error {
        match self {
            Self::Error(error) => error,
            Self::Changed => {
                let message = format!("{object} has another version than {:?} now", head.version);
                Error::new(ErrorKind::Changed, message)
            }
        }
    }
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// A block's part of what is read: which of its bytes, and where they go.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) number: u64,
    pub(super) of_block: Range<usize>,
    pub(super) to: Range<usize>,
}

impl Piece {
    pub(super) fn of(cut: Cut, number: u64, read: &Range<u64>) -> Self {
        let block = cut.bytes(number);
        let (from, to) = (block.start.max(read.start), block.end.min(read.end));
        Self {
            number,
            of_block: to_usize(from - block.start)..to_usize(to - block.start),
            to: to_usize(from - read.start)..to_usize(to - read.start),
        }
    }
}

impl Shared {
    /// The object's head; where nothing is known of it, with bytes of the range.
    pub(super) fn open(
        self: &Arc<Self>,
        object: &str,
        range: &Range<u64>,
        options: &ReadOptions,
    ) -> Result<Opened> {
        self.opened(object, options, self.wanted(range).as_ref())
    }

    /// Whole blocks, as many as may come with an answer.
    pub(super) fn wanted(&self, range: &Range<u64>) -> Option<Range<u64>> {
        let block = 1 << self.plan.bits;
        let start = range.start / block * block;
        let most = start.saturating_add(WANTED_RUNS * self.plan.run_blocks * block);
        // Of one without an end, as much as may come.
        let end = range.end.checked_next_multiple_of(block).unwrap_or(most);
        (range.start < range.end).then(|| start..end.min(most))
    }

    /// Bytes of the version that was opened, or of a newer one where it has changed since.
    pub(super) fn read(
        self: &Arc<Self>,
        object: &str,
        mut opened: Opened,
        offset: u64,
        buf: &mut [u8],
        options: &ReadOptions,
    ) -> Result<Head> {
        let began_ns = self.now_ns();
        for _ in 0..TRIES {
            match self.read_version(object, &opened, offset, buf, options) {
                Ok(()) => {
                    self.times.get.add(self.now_ns().saturating_sub(began_ns));
                    return Ok(opened.head);
                }
                Err(Stopped::Error(error)) => return Err(error),
                Err(Stopped::Changed) => {
                    let again = options.clone().revalidate(Revalidate::Always);
                    opened = self.head(object, &again)?.into();
                }
            }
        }
        Err(keeps_changing(object))
    }

    /// Refuses what lies not in the object.
    pub(super) fn check_range(object: &str, head: &Head, range: &Range<u64>) -> Result<()> {
        let Range { start, end } = *range;
        let len = head.len;
        // A head may come from elsewhere.
        if len > MOST_BYTES {
            return Err(Error::invalid(format!("{object} has {len} bytes")));
        }
        if start <= end && end <= len {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "bytes {start} to {end} of {object}, which has {len}"
        )))
    }

    /// Bytes of exactly the version that was opened.
    pub(super) fn read_version(
        self: &Arc<Self>,
        object: &str,
        opened: &Opened,
        offset: u64,
        buf: &mut [u8],
        options: &ReadOptions,
    ) -> std::result::Result<(), Stopped> {
        let head = &opened.head;
        let range = offset..offset.saturating_add(buf.len() as u64);
        Self::check_range(object, head, &range)?;
        self.counters.reads.add(1);
        if buf.is_empty() {
            return Ok(());
        }
        let mut reading = Reading {
            object,
            head,
            options,
            keys: self.keys(object, head)?,
        };
        let cut = reading.keys.cut;
        let touched = cut.touched(offset, buf.len() as u64);
        // Before the looks: what is over since then may have been kept behind one of them.
        let landings = self.flights.landings();
        let mut came = 0;
        let mut missing = Vec::new();
        for number in touched.clone() {
            let piece = Piece::of(cut, number, &range);
            if let Some(block) = opened.block(cut, number) {
                buf[piece.to].copy_from_slice(&block[piece.of_block]);
                came += 1;
            } else if !self.copy(&mut reading.keys, &piece, buf) {
                missing.push(piece);
            }
        }
        self.looked(&reading, &touched, missing.len() as u64 + came);
        for _ in 0..TRIES {
            if missing.is_empty() {
                return Ok(());
            }
            perennial_wal::may_wait().map_err(Error::from)?;
            missing = self.fetch(&mut reading, missing, buf, landings)?;
        }
        Err(Stopped::Error(lost(object)))
    }

    /// A read has looked for these blocks, and so many were not there.
    pub(super) fn looked(
        &self,
        reading: &Reading<'_>,
        touched: &RangeInclusive<u64>,
        missing: u64,
    ) {
        let known = self.heads.of(reading.object);
        self.count(&known, touched.end() - touched.start() + 1, missing);
        // Who wants nothing kept wants nothing ahead of it either, for that would have to be.
        if reading.options.priority == Priority::Foreground && reading.options.populate {
            self.expect_more(reading, &known, touched);
        }
    }

    fn count(&self, known: &Known, blocks: u64, missing: u64) {
        let counters = &self.counters;
        let ended = match missing {
            0 => &counters.full_hits,
            _ if missing == blocks => &counters.no_hits,
            _ => &counters.partial_hits,
        };
        ended.add(1);
        counters.multi_block_reads.add(u64::from(blocks > 1));
        counters.block_hits.add(blocks - missing);
        counters.block_misses.add(missing);
        known.hits.add(blocks - missing);
        known.misses.add(missing);
    }

    /// From the cache, if it is there.
    fn copy(&self, keys: &mut Keys, piece: &Piece, buf: &mut [u8]) -> bool {
        let Some(bytes) = self.cached(keys, piece.number, &piece.of_block) else {
            return false;
        };
        self.counters.cache_bytes.add(bytes.len() as u64);
        buf[piece.to.clone()].copy_from_slice(&bytes);
        true
    }

    /// Fetches what is missing, or waits for those who do. What has to be tried again.
    fn fetch(
        self: &Arc<Self>,
        reading: &mut Reading<'_>,
        missing: Vec<Piece>,
        buf: &mut [u8],
        landings: u64,
    ) -> std::result::Result<Vec<Piece>, Stopped> {
        let parker = Arc::new(Parker::default());
        let cancel = reading.options.cancel.as_ref();
        let _wakes = cancel.map(|cancel| cancel.wakes(&parker));
        let numbers: Vec<_> = missing.iter().map(|piece| piece.number).collect();
        let boarded = self.board(reading, &numbers, &parker, landings);
        let mut lost = Vec::new();
        for (piece, boarded) in missing.into_iter().zip(boarded) {
            match boarded.landed(cancel) {
                Some(Landing::Good(block)) => {
                    buf[piece.to].copy_from_slice(&block[piece.of_block]);
                }
                Some(Landing::Failed(error)) => return Err(Stopped::Error(error)),
                Some(Landing::Changed) => return Err(Stopped::Changed),
                Some(Landing::Lost) if !cancel.is_some_and(Cancel::is_cancelled) => {
                    lost.push(piece);
                }
                Some(Landing::Lost) | None => return Err(self.was_cancelled()),
            }
        }
        Ok(lost)
    }

    pub(super) fn was_cancelled(&self) -> Stopped {
        Stopped::Error(self.cancels())
    }

    /// The error of a read that was cancelled, which is counted.
    pub(super) fn cancels(&self) -> Error {
        self.counters.cancelled.add(1);
        cancelled()
    }
}

/// Our own bug: threads that panicked.
pub(super) fn lost(object: &str) -> Error {
    let message = format!("the threads that fetched {object} ended early, again and again");
    Error::new(ErrorKind::Origin, message)
}

pub(super) fn keeps_changing(object: &str) -> Error {
    let message = format!("{object} changes more often than it can be read");
    Error::new(ErrorKind::Changed, message)
}
