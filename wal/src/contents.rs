//! The log's contents as recovery finds them: the end judged, the rest read on demand.

mod files;
mod judge;

use std::cell::OnceCell;
use std::sync::Arc;

pub(crate) use files::FileBytes;
pub(crate) use judge::OpenEnd;
use perennial_failpoints::fs::Dir;

use crate::error::WalError;
use crate::frame::FrameKind;
use crate::geometry::Geometry;
use crate::lsn::{Lsn, SegmentId};
use crate::scan::{Found, TailEvidence, find};
use crate::segment::{Row, Trailer};
use crate::verdict::{GapFacts, GapVerdict, judge_gap};
use crate::walk::Item;

/// A step of replay, in the order of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// An operation that counts.
    Row(Row),
    /// Damage to an operation on the key with this hash: forget the key.
    ForgetKey(u64),
    /// Damage to an operation on a key nobody can tell: forget everything so far.
    ForgetAll,
}

/// Counts of what was found damaged or given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Verdicts {
    /// Operations that had not returned when the process died.
    pub holes: u64,
    /// Damaged operations whose key was forgotten.
    pub damaged_keys: u64,
    /// Damaged operations for which everything older was forgotten.
    pub damaged_unknown: u64,
    /// Segments given up behind the end of the log.
    pub cut_segments: u64,
}

/// A log found in a directory. Nothing on disk has been changed.
#[derive(Debug)]
pub struct Contents<'a> {
    pub(crate) dir: &'a dyn Dir,
    pub(crate) geometry: Geometry,
    pub(crate) tail: TailEvidence<'a>,
    /// The files.
    pub found: Found,
    /// Everything below was on stable storage.
    pub stable: Lsn,
    /// Chain segments from here on have no trailer.
    pub(crate) ends: Vec<OpenEnd>,
    /// What was judged so far.
    pub verdicts: Verdicts,
    /// The log was closed cleanly, and nothing was written since.
    pub clean: bool,
    /// Why something could not be read though the media did not fail: then nothing may be changed.
    trouble: OnceCell<WalError>,
    /// The newest trailer, and its segment's index in the chain: read to find the end, kept for the replay and the repair.
    newest_trailer: Option<(usize, Arc<Trailer>)>,
}

impl<'a> Contents<'a> {
    /// Reads the headers, walks the segments at the end that have no trailer, and judges their gaps.
    ///
    /// # Errors
    /// When the directory cannot be listed, or something in it not be read for a reason other than the media's.
    pub fn read(
        dir: &'a dyn Dir,
        cache_id: u64,
        geometry: Geometry,
        tail: TailEvidence<'a>,
    ) -> crate::error::Result<Self> {
        let found = find(dir, cache_id, geometry, &tail)?;
        let mut contents = Self {
            dir,
            geometry,
            tail,
            found,
            stable: Lsn(0),
            ends: Vec::new(),
            verdicts: Verdicts::default(),
            clean: false,
            trouble: OnceCell::new(),
            newest_trailer: None,
        };
        let mut walked = contents.walk_the_end();
        contents.stable = contents.known_stable(&walked);
        contents.trim(&mut walked);
        contents.judge(walked);
        contents.check_read()?;
        Ok(contents)
    }

    /// Fails where something could not be read and the media was not the cause: what was judged then is a guess.
    ///
    /// # Errors
    /// With the first such failure.
    pub fn check_read(&self) -> crate::error::Result<()> {
        self.trouble.get().cloned().map_or(Ok(()), Err)
    }

    /// Walks the longest run of segments at the end that have no trailer, newest last.
    fn walk_the_end(&mut self) -> Vec<(usize, Vec<Item>)> {
        let mut walked = Vec::new();
        for (index, segment) in self.found.chain.iter().enumerate().rev() {
            if let Some(trailer) = self.trailer_of(segment) {
                self.newest_trailer = Some((index, Arc::new(trailer)));
                break;
            }
            walked.push((index, self.walk(segment)));
        }
        walked.reverse();
        walked
    }

    /// The trailer of the segment at `index` in the chain.
    pub(crate) fn trailer_at(&self, index: usize) -> Option<Arc<Trailer>> {
        let newest = self.newest_trailer.as_ref().filter(|(at, _)| *at == index);
        newest.map_or_else(
            || self.trailer_of(&self.found.chain[index]).map(Arc::new),
            |(_, trailer)| Some(Arc::clone(trailer)),
        )
    }

    /// Numbers of the segments that count, oldest first.
    #[must_use]
    pub fn segments(&self) -> Vec<SegmentId> {
        let cut = self
            .ends
            .last()
            .map_or(self.found.chain.len(), |end| end.index + 1);
        self.found.chain[..cut]
            .iter()
            .map(|s| s.header.number)
            .collect()
    }

    /// What happened in the segment at `index` of [`segments`](Self::segments), in the order of the log.
    #[must_use]
    pub fn events(&mut self, index: usize) -> Events {
        if let Some(end) = self.ends.iter().find(|end| end.index == index) {
            return Events::judged(&end.items);
        }
        let segment = self.found.chain[index].clone();
        if let Some(trailer) = self.trailer_at(index) {
            return Events {
                sealed: Some(trailer),
                judged: Vec::new(),
            };
        }
        // A segment whose trailer is gone though later ones are sealed: everything in it was stable.
        let mut items = self.walk(&segment);
        for item in &mut items {
            let Item::Gap(gap) = item else { continue };
            let verdict = judge_gap(GapFacts {
                below_stable: true,
                ..self.facts(gap)
            });
            self.count(verdict);
            gap.verdict = Some(verdict);
        }
        Events::judged(&items)
    }
}

/// What happened in a segment.
#[derive(Debug)]
pub struct Events {
    /// Of a sealed segment, as its trailer says.
    sealed: Option<Arc<Trailer>>,
    /// Of any other.
    judged: Vec<Event>,
}

impl Events {
    fn judged(items: &[Item]) -> Self {
        Self {
            sealed: None,
            judged: items.iter().filter_map(event_of).collect(),
        }
    }

    /// In the order of the log.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Event> + '_ {
        let rows = self.rows().iter().copied().map(Event::from);
        rows.chain(self.judged.iter().copied())
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows().len() + self.judged.len()
    }

    fn rows(&self) -> &[Row] {
        self.sealed.as_ref().map_or(&[], |trailer| &trailer.rows)
    }

    /// True when nothing happened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<Row> for Event {
    fn from(row: Row) -> Self {
        if row.kind == FrameKind::Pad {
            Self::ForgetAll
        } else {
            Self::Row(row)
        }
    }
}

fn event_of(item: &Item) -> Option<Event> {
    match item {
        Item::Frame(frame) => frame.row.map(Event::from),
        Item::Gap(gap) => match (gap.verdict?, gap.key) {
            (GapVerdict::DamagedKey, key) => key.map(Event::ForgetKey),
            (GapVerdict::DamagedUnknown, _) => Some(Event::ForgetAll),
            (GapVerdict::Hole | GapVerdict::End, _) => None,
        },
    }
}
