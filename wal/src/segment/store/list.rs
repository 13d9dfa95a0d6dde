//! Segments by number. Who looks one up takes no lock.
//!
//! A list is never changed: whoever adds or removes a segment makes another, which happens once in some ten MiB of log. A
//! reader goes by the list of its moment, and what it finds there stays in memory until it lets go. That says nothing of
//! the file, which may be another segment's by then: what is read proves itself, or is not believed.

use std::ops::Deref;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use super::Segment;
use crate::lsn::SegmentId;
use crate::sync::Mutex;

type Numbered = (SegmentId, Arc<Segment>);

#[derive(Debug)]
pub(super) struct SegmentList {
    /// By number.
    list: ArcSwap<Vec<Numbered>>,
    changing: Mutex<()>,
}

/// A segment that was in the list when it was looked up.
#[derive(Debug)]
pub struct Listed {
    list: Guard<Arc<Vec<Numbered>>>,
    at: usize,
}

impl Deref for Listed {
    type Target = Arc<Segment>;

    #[inline]
    fn deref(&self) -> &Arc<Segment> {
        &self.list[self.at].1
    }
}

impl SegmentList {
    pub(super) fn new(segments: Vec<Segment>) -> Self {
        let numbered = |s: Segment| (s.header.number, Arc::new(s));
        let mut list: Vec<_> = segments.into_iter().map(numbered).collect();
        list.sort_by_key(|(number, _)| *number);
        Self {
            list: ArcSwap::from_pointee(list),
            changing: Mutex::new(()),
        }
    }

    #[inline]
    pub(super) fn get(&self, id: SegmentId) -> Option<Listed> {
        let list = self.list.load();
        let at = place(&list, id)?;
        Some(Listed { list, at })
    }

    pub(super) fn has(&self, id: SegmentId) -> bool {
        place(&self.list.load(), id).is_some()
    }

    /// All of them, by number.
    pub(super) fn all(&self) -> Vec<Arc<Segment>> {
        let list = self.list.load();
        list.iter()
            .map(|(_, segment)| Arc::clone(segment))
            .collect()
    }

    /// The number of the first.
    pub(super) fn first(&self) -> Option<SegmentId> {
        self.list.load().first().map(|(number, _)| *number)
    }

    /// Adds a segment.
    pub(super) fn insert(&self, segment: Arc<Segment>) {
        self.change(|list| {
            let number = segment.header.number;
            let at = list.partition_point(|(before, _)| *before < number);
            list.insert(at, (number, segment));
        });
    }

    /// Puts another in the place of a segment, if that is there.
    pub(super) fn replace(&self, id: SegmentId, other: impl FnOnce(&Segment) -> Segment) {
        self.change(|list| {
            if let Some(at) = place(list, id) {
                list[at].1 = Arc::new(other(&list[at].1));
            }
        });
    }

    pub(super) fn remove(&self, id: SegmentId) -> Option<Arc<Segment>> {
        self.change(|list| Some(list.remove(place(list, id)?).1))
    }

    /// Removes those up to and including `through`.
    pub(super) fn remove_through(&self, through: SegmentId) -> Vec<Arc<Segment>> {
        self.change(|list| {
            let rest = list.partition_point(|(number, _)| *number <= through);
            list.drain(..rest).map(|(_, segment)| segment).collect()
        })
    }

    fn change<R>(&self, change: impl FnOnce(&mut Vec<Numbered>) -> R) -> R {
        let _one = self.changing.lock();
        let mut list = Vec::clone(&self.list.load());
        let result = change(&mut list);
        self.list.store(Arc::new(list));
        result
    }
}

/// Where segment `id` is. Numbers only grow, and few are left out: it is mostly as far from the first as its number is.
#[inline]
fn place(list: &[Numbered], id: SegmentId) -> Option<usize> {
    let guess = usize::try_from(id.0.checked_sub(list.first()?.0.0)?).ok()?;
    if list.get(guess).is_some_and(|(number, _)| *number == id) {
        return Some(guess);
    }
    list.binary_search_by_key(&id, |(number, _)| *number).ok()
}
