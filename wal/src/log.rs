//! The log as a product of its own: open a directory, append, read back.

use std::path::Path;
use std::sync::Arc;

use perennial_failpoints::fs::{Fs, LockGuard};

use crate::background::Background;
use crate::buffer::{Class, NoRoom};
use crate::contents::Contents;
use crate::core::{LogCore, Refused};
use crate::error::{Result, WalError};
use crate::filling::may_wait;
use crate::frame::{FrameHeader, FrameKind};
use crate::geometry::{Geometry, Life};
use crate::log_file::LogFile;
use crate::lsn::{Lsn, to_usize};
use crate::open::TailMemory;
use crate::reservation::{FrameSpec, Reservation};
use crate::segment::Segment;
use crate::tail_file::open_tail_file;
use crate::walk::{Item, SegmentBytes};

/// How to open a [`Log`].
#[derive(Debug, Clone)]
#[must_use]
pub struct LogOptions {
    segment_bytes: u64,
    tail_bytes: u64,
    max_segments: u64,
    background: bool,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            tail_bytes: 64 << 20,
            max_segments: u64::MAX,
            background: true,
        }
    }
}

impl LogOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes of a segment file, fixed when the log is created. Default: 64 MiB. Range: 8 KiB to 64 MiB, a power of two.
    pub fn segment_bytes(mut self, bytes: u64) -> Self {
        self.segment_bytes = bytes;
        self
    }

    /// Bytes of the ring that reservations are made in, fixed when the log is created. Default: 64 MiB. Range: 4 KiB
    /// (32 KiB with segments of 64 KiB and more) to 1 GiB, a multiple of 4 KiB.
    pub fn tail_bytes(mut self, bytes: u64) -> Self {
        self.tail_bytes = bytes;
        self
    }

    /// At most this many segment files; appends then answer [`WalError::Full`] until [`Log::release_before`]. Default:
    /// as many as the disk holds. Range: from 2.
    pub fn max_segments(mut self, segments: u64) -> Self {
        self.max_segments = segments;
        self
    }

    /// A thread writes behind the appenders. Without it they write themselves, in an order that depends on nothing but
    /// the calls. Default: true.
    pub fn background(mut self, background: bool) -> Self {
        self.background = background;
        self
    }

    fn check(&self) -> Result<Geometry> {
        if !Geometry::is_segment_size(self.segment_bytes) {
            let why = format!(
                "segment_bytes is {}; choose a multiple of 4096 from 8 KiB to 64 MiB",
                self.segment_bytes
            );
            return Err(WalError::Invalid(why));
        }
        let geometry = Geometry::of(self.segment_bytes);
        let least = TailMemory::min_ring_bytes(geometry.sector);
        if !(least..=1 << 30).contains(&self.tail_bytes) || !self.tail_bytes.is_multiple_of(4096) {
            let why = format!(
                "tail_bytes is {}; choose a multiple of 4096 from {least} to 1 GiB",
                self.tail_bytes
            );
            return Err(WalError::Invalid(why));
        }
        if self.max_segments < 2 {
            return Err(WalError::Invalid("max_segments must be at least 2".into()));
        }
        Ok(geometry)
    }
}

impl Geometry {
    /// The geometry of segments of `segment_bytes`: those below 1 MiB are written in sectors of 512 bytes, because what
    /// is left empty in sectors of 4096 costs a small cache a twentieth of its entries; the others in 4096.
    #[must_use]
    pub const fn of(segment_bytes: u64) -> Self {
        Self {
            segment_bytes,
            sector: if segment_bytes < 1 << 20 { 512 } else { 4096 },
        }
    }

    /// True for a multiple of 4096 from 8 KiB to 64 MiB.
    #[must_use]
    pub const fn is_segment_size(bytes: u64) -> bool {
        bytes.is_multiple_of(4096) && bytes >= 8 << 10 && bytes <= 64 << 20
    }
}

/// A write-ahead log in a directory of its own.
#[derive(Debug)]
pub struct Log {
    pub(crate) log: Arc<LogCore>,
    background: Option<Background>,
    _lock: Box<dyn LockGuard>,
}

/// An appended entry, read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Where it lies.
    pub lsn: Lsn,
    /// What was appended.
    pub bytes: Vec<u8>,
}

impl Log {
    /// Opens the log in `path`, creating it where there is none. Everything that was made stable is there; after a
    /// killed process everything that was appended.
    ///
    /// # Errors
    /// [`WalError::Locked`], [`WalError::Foreign`], [`WalError::Invalid`], or what the file system reports.
    pub fn open(fs: &dyn Fs, path: &Path, options: &LogOptions) -> Result<Self> {
        let geometry = options.check()?;
        let shown = path.display().to_string();
        fs.create_dir_all(path)
            .map_err(|e| WalError::io("create", shown.clone(), 0, e))?;
        let dir = fs
            .open_dir(path)
            .map_err(|e| WalError::io("open", shown.clone(), 0, e))?;
        let lock = dir
            .try_lock("LOCK")
            .map_err(|e| WalError::io("lock", shown.clone(), 0, e))?;
        let lock = lock.ok_or_else(|| WalError::Locked(shown.clone()))?;
        let file = LogFile::read_or_create(&*dir, geometry, options.tail_bytes, fs)?;
        let geometry = Geometry::of(file.segment_bytes);
        let mut tail = open_tail_file(&*dir, "tail", file.ring_bytes)?;
        let life = Life {
            cache_id: file.id,
            incarnation: fs.random_u64(),
        };
        let boot_id = fs.boot_id();
        let evidence = tail.evidence(file.id, file.id, boot_id);
        let contents = Contents::read(&*dir, file.id, geometry, evidence)?;
        // Without the log's end nobody can say what is missing: a log must not pretend.
        if contents.found.end_missing
            || contents.found.broken
            || contents.verdicts().damaged_unknown > 0
        {
            let why = format!(
                "{shown}: a segment of the log is missing or damaged; restore it or remove the directory"
            );
            return Err(WalError::Foreign(why));
        }
        let mended = contents.mend(
            Arc::clone(&dir),
            geometry,
            life,
            options.max_segments,
            false,
        )?;
        let log = Arc::new(mended.start(tail, file.id, boot_id)?);
        log.lock_tail();
        let background = options
            .background
            .then(|| Background::spawn(&log, None))
            .transpose();
        let background = background.map_err(|e| WalError::io("start a thread for", shown, 0, e))?;
        Ok(Self {
            log,
            background,
            _lock: lock,
        })
    }

    /// Reserves room for an entry of `bytes`, to be filled in place.
    ///
    /// # Errors
    /// [`WalError::TooLarge`], [`WalError::Full`], or why the log stopped.
    pub fn reserve(&self, bytes: usize) -> Result<Reservation<'_>> {
        let max = self.log.max_ring_frame();
        let value_bytes = u32::try_from(bytes).map_err(|_| WalError::TooLarge {
            bytes: bytes as u64,
            max,
        })?;
        let spec = FrameSpec {
            kind: FrameKind::Put,
            hash: 0,
            key_bytes: 0,
            value_bytes,
            expiry: 0,
            flags: 0,
        };
        loop {
            match self.log.try_reserve(spec, Class::Put) {
                Ok(reservation) => return Ok(reservation),
                Err(Refused::Stopped(why)) => return Err(why),
                Err(Refused::NoRoom(no_room)) => self.make_room(no_room)?,
            }
        }
    }

    fn make_room(&self, no_room: NoRoom) -> Result<()> {
        may_wait()?;
        match no_room {
            NoRoom::Ring => self.log.make_ring_room(),
            NoRoom::Segment => {
                if self.log.prepare_segment()? {
                    Ok(())
                } else {
                    Err(WalError::Full)
                }
            }
        }
    }

    /// Appends an entry and returns the position behind it: [`make_stable`](Self::make_stable) of that makes it durable.
    ///
    /// # Errors
    /// As [`reserve`](Self::reserve).
    pub fn append(&self, bytes: &[u8]) -> Result<Lsn> {
        let mut reservation = self.reserve(bytes.len())?;
        reservation.body().value.copy_from_slice(bytes);
        Ok(reservation.complete())
    }

    /// Returns once everything below `lsn` is on stable storage; many callers share one sync.
    ///
    /// # Errors
    /// Why the log stopped; [`WalError::Invalid`] for a position beyond what was appended.
    pub fn make_stable(&self, lsn: Lsn) -> Result<()> {
        self.log.make_stable(lsn)
    }

    /// Makes everything appended so far stable; returns up to where.
    ///
    /// # Errors
    /// Why the log stopped.
    pub fn flush(&self) -> Result<Lsn> {
        self.log.flush()
    }

    /// Everything below is on stable storage.
    #[must_use]
    pub fn stable_lsn(&self) -> Lsn {
        self.log.stable_lsn()
    }

    /// The stable entries from `lsn` on, in the order of the log, read from the segment files. Changes nothing.
    pub fn iter_from(&self, lsn: Lsn) -> impl Iterator<Item = Result<LogEntry>> + '_ {
        let stable = self.log.stable_lsn();
        let segments = self.log.store().live().into_iter();
        let entries = move |segment: Arc<Segment>| match self.entries_of(&segment, lsn, stable) {
            Ok(entries) => entries.into_iter().map(Ok).collect::<Vec<_>>(),
            Err(error) => vec![Err(error)],
        };
        segments.flat_map(entries)
    }

    fn entries_of(&self, segment: &Segment, from: Lsn, stable: Lsn) -> Result<Vec<LogEntry>> {
        let geometry = self.log.geometry();
        let begin = Lsn::new(segment.header.number, 0, geometry.segment_bytes);
        if begin.plus(geometry.segment_bytes) <= from || begin >= stable {
            return Ok(Vec::new());
        }
        let file = self
            .log
            .store()
            .read(segment, 0, to_usize(geometry.segment_bytes))?;
        let bytes = SegmentBytes {
            header: &segment.header,
            file: &file,
            unread: &[],
            ring: &[],
            reserved_to: u64::MAX,
        };
        let entry = |item: Item| match item {
            Item::Frame(f)
                if f.header.kind == FrameKind::Put && f.lsn >= from && f.lsn < stable =>
            {
                let frame = &file[to_usize(f.lsn.offset(geometry.segment_bytes))..];
                Some(LogEntry {
                    lsn: f.lsn,
                    bytes: FrameHeader::value(&f.header, frame).to_vec(),
                })
            }
            _ => None,
        };
        Ok(bytes.walk().into_iter().filter_map(entry).collect())
    }

    /// Frees the segments that end before `lsn`.
    pub fn release_before(&self, lsn: Lsn) {
        let geometry = self.log.geometry();
        let number = lsn
            .min(self.log.stable_lsn())
            .segment(geometry.segment_bytes)
            .0;
        if number > 0 {
            self.log
                .store()
                .release_through(crate::SegmentId(number - 1));
        }
    }

    /// Makes everything stable and stops.
    ///
    /// # Errors
    /// When the last commit fails.
    pub fn close(mut self) -> Result<()> {
        self.stop()
    }

    fn stop(&mut self) -> Result<()> {
        let closed = self.log.close();
        if let Some(background) = &mut self.background {
            background.join();
        }
        closed
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if self.log.failed().is_none()
            && let Err(error) = self.stop()
        {
            tracing::error!(%error, "closing the log failed");
        }
    }
}
