//! The log's contents as recovery finds them: the end judged, the rest read on demand.

mod files;
mod judge;
mod window;

use std::collections::BTreeSet;
use std::sync::OnceLock;

pub(crate) use files::FileBytes;
pub(crate) use judge::OpenEnd;
use perennial_failpoints::fs::Dir;
pub(crate) use window::Window;

use crate::error::WalError;
use crate::frame::FrameKind;
use crate::geometry::Geometry;
use crate::lsn::{Lsn, SegmentId};
use crate::scan::{Found, TailEvidence, find};
use crate::segment::{Row, Trailer};
use crate::sync::Mutex;
use crate::table::TableBuffer;
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

impl Walked {
    /// The rows of the frames in it.
    pub fn rows(&self) -> impl Iterator<Item = Row> + '_ {
        let items = self.0.iter().flat_map(|(_, items)| items);
        items.filter_map(|item| match item {
            Item::Frame(frame) => frame.row,
            Item::Gap(_) => None,
        })
    }
}

/// What was judged, and where.
#[derive(Debug, Default)]
struct Judged {
    verdicts: Verdicts,
    gaps: BTreeSet<Lsn>,
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
    judged: Mutex<Judged>,
    /// The log was closed cleanly, and nothing was written since.
    pub clean: bool,
    /// Why something could not be read though the media did not fail: then nothing may be changed.
    trouble: OnceLock<WalError>,
    /// So many read at a time.
    pub(crate) threads: usize,
    /// Where the chain's end without trailers begins.
    first_unsealed: usize,
    /// The trailer of the segment before: read to find the end, kept for the replay and the repair.
    pub(crate) newest_trailer: Option<Trailer>,
}

/// The log's end as it was found, not judged yet: the segments' places in the chain, and what is in them.
#[derive(Debug)]
pub struct Walked(Vec<(usize, Vec<Item>)>);

impl<'a> Contents<'a> {
    /// True where the life that died in this boot had gone on without its log (PROTOCOL hole 32): what it removed or stored
    /// since is in no file, so nothing in one counts. After lost power nothing of that life had been promised since, and the
    /// log stands.
    #[must_use]
    pub fn is_void(&self) -> bool {
        let head = self.tail.head.as_ref();
        self.tail.same_boot && head.is_some_and(|head| head.void)
    }

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
        let mut contents = Self::find(dir, cache_id, geometry, tail, 1)?;
        let (walked, newest) = (contents.walk_the_end(), contents.newest_trailer());
        contents.judge_the_end(walked, newest)?;
        Ok(contents)
    }

    /// The first step of [`read`](Self::read): the headers, read by so many threads, and which segment is the newest that says
    /// it is sealed. Those before it can be read then.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn find(
        dir: &'a dyn Dir,
        cache_id: u64,
        geometry: Geometry,
        tail: TailEvidence<'a>,
        threads: usize,
    ) -> crate::error::Result<Self> {
        let found = find(dir, cache_id, geometry, &tail, threads)?;
        let mut contents = Self {
            dir,
            geometry,
            tail,
            found,
            stable: Lsn(0),
            ends: Vec::new(),
            judged: Mutex::default(),
            clean: false,
            trouble: OnceLock::new(),
            threads,
            first_unsealed: 0,
            newest_trailer: None,
        };
        let mut buffer = TableBuffer::default();
        let chain = &contents.found.chain;
        let sealed = chain
            .iter()
            .rposition(|s| contents.says_sealed(s, &mut buffer));
        contents.first_unsealed = sealed.map_or(0, |sealed| sealed + 1);
        Ok(contents)
    }

    /// How many segments of the chain, the oldest ones, lie before its end without trailers.
    #[must_use]
    pub fn first_unsealed(&self) -> usize {
        self.first_unsealed
    }

    /// The second step: walks the segments at the end that have no trailer.
    #[must_use]
    pub fn walk_the_end(&self) -> Walked {
        let open = self.first_unsealed..self.found.chain.len();
        Walked(
            open.map(|index| (index, self.walk(&self.found.chain[index])))
                .collect(),
        )
    }

    /// May be done at the same time: reads the trailer that the newest sealed segment says it has.
    #[must_use]
    pub fn newest_trailer(&self) -> Option<Trailer> {
        let sealed = self.first_unsealed.checked_sub(1)?;
        self.trailer_of(&self.found.chain[sealed])
    }

    /// The third: what was walked is judged, and where the log ends is known.
    ///
    /// # Errors
    /// When something could not be read for a reason other than the media's.
    pub fn judge_the_end(
        &mut self,
        walked: Walked,
        newest: Option<Trailer>,
    ) -> crate::error::Result<()> {
        let Walked(mut segments) = walked;
        let mut newest = newest;
        while newest.is_none() && self.first_unsealed > 0 {
            // Its trailer does not prove itself.
            self.first_unsealed -= 1;
            let index = self.first_unsealed;
            segments.insert(0, (index, self.walk(&self.found.chain[index])));
            newest = self.newest_trailer();
        }
        self.newest_trailer = newest;
        self.stable = self.known_stable(&segments);
        self.trim(&mut segments);
        self.judge(segments);
        self.check_read()
    }

    /// Fails where something could not be read and the media was not the cause: what was judged then is a guess.
    ///
    /// # Errors
    /// With the first such failure.
    pub fn check_read(&self) -> crate::error::Result<()> {
        self.trouble.get().cloned().map_or(Ok(()), Err)
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

    /// Where the log ends: what counts lies below.
    #[must_use]
    pub fn end(&self) -> Lsn {
        let segment_bytes = self.geometry.segment_bytes;
        let number = |index: usize| self.found.chain.get(index).map(|s| s.header.number);
        if let Some(open) = self.ends.last() {
            return number(open.index).map_or(Lsn(0), |id| Lsn::new(id, open.end, segment_bytes));
        }
        let newest = self.found.chain.len().checked_sub(1).and_then(number);
        newest.map_or(Lsn(0), |id| Lsn((id.0 + 1) * segment_bytes))
    }

    /// What was judged so far.
    #[must_use]
    pub fn verdicts(&self) -> Verdicts {
        self.judged.lock().verdicts
    }

    /// Gives `each` what happened in the segment at `index` of [`segments`](Self::segments), in the order of the log; `false` where it
    /// has to be read otherwise, by [`events`](Self::events), and what `each` was given does not count.
    pub fn each_event(
        &self,
        index: usize,
        buffer: &mut TableBuffer,
        mut each: impl FnMut(Event),
    ) -> bool {
        if let Some(end) = self.ends.iter().find(|end| end.index == index) {
            end.items.iter().filter_map(event_of).for_each(each);
            return true;
        }
        if let Some(trailer) = self.trailer_read(index) {
            trailer.rows.iter().copied().map(Event::from).for_each(each);
            return true;
        }
        let segment = &self.found.chain[index];
        index < self.first_unsealed && self.each_row(segment, buffer, |row| each(Event::from(row)))
    }

    fn trailer_read(&self, index: usize) -> Option<&Trailer> {
        let newest = self.newest_trailer.as_ref();
        newest.filter(|_| index + 1 == self.first_unsealed)
    }

    /// What happened in the segment at `index` of [`segments`](Self::segments), in the order of the log.
    #[must_use]
    pub fn events(&self, index: usize) -> Events {
        if let Some(end) = self.ends.iter().find(|end| end.index == index) {
            return Events::judged(&end.items);
        }
        let segment = &self.found.chain[index];
        let rows = self.trailer_read(index).map_or_else(
            || self.trailer_of(segment).map(|trailer| trailer.rows),
            |trailer| Some(trailer.rows.clone()),
        );
        if let Some(rows) = rows {
            return Events {
                rows,
                judged: Vec::new(),
            };
        }
        // A segment whose trailer is gone though later ones are sealed: everything in it was stable.
        let mut items = self.walk(segment);
        for item in &mut items {
            let Item::Gap(gap) = item else { continue };
            let verdict = judge_gap(GapFacts {
                below_stable: true,
                ..self.facts(gap)
            });
            self.count(gap.lsn, verdict);
            gap.verdict = Some(verdict);
        }
        Events::judged(&items)
    }
}

/// What happened in a segment.
#[derive(Debug)]
pub struct Events {
    /// Of a sealed segment, as its trailer says.
    rows: Vec<Row>,
    /// Of any other.
    judged: Vec<Event>,
}

impl Events {
    fn judged(items: &[Item]) -> Self {
        Self {
            rows: Vec::new(),
            judged: items.iter().filter_map(event_of).collect(),
        }
    }

    /// In the order of the log.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Event> + '_ {
        let rows = self.rows.iter().copied().map(Event::from);
        rows.chain(self.judged.iter().copied())
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len() + self.judged.len()
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
