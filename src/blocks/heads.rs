//! Versions and lengths that are remembered.
//!
//! Answers may come in another order than they were asked for. Each question draws a number when it begins, and an answer
//! counts only if nothing later is known (B5).

use std::sync::Arc;

use crate::blocks::age::{AsOf, Since};
use crate::blocks::origin::{Head, Opened, Version};
use crate::blocks::registry::{Key, Registry};
use crate::blocks::remembered::{Remembered, Unkept};
use crate::blocks::request::Revalidate;
use crate::blocks::scan::Detector;
use crate::stats::Counter;
use crate::sync::{AtomicU64, Mutex, Ordering};

/// An answer that says the same as before is kept again after a minute.
const KEPT_AGAIN_NS: u64 = 60_000_000_000;
/// A visit is a look into the index; blocks are visited at each of their reads.
const USES_PER_VISIT: u64 = 4;
const WITHOUT_ROOM_MAX: usize = 1024;

/// What is remembered of one object.
#[derive(Debug, Default)]
pub(super) struct Known {
    seen: Mutex<Seen>,
    pub(super) scan: Mutex<Detector>,
    pub(super) hits: Counter,
    pub(super) misses: Counter,
    /// Times that what is remembered was enough.
    uses: AtomicU64,
    unkept: Mutex<Option<Unkept>>,
}

#[derive(Debug, Default)]
struct Seen {
    head: Option<Head>,
    /// Of the question that it answers; answers to earlier ones do not count.
    number: u64,
    asked_ns: u64,
    /// Questions that were put, of whatever object, when the answer came.
    put: u64,
    /// How old it was at `asked_ns` already: it was asked for in an earlier life.
    older_ns: u64,
    /// What an earlier life knew was looked for.
    recalled: bool,
    /// When it was last kept for the next life.
    kept_ns: Option<u64>,
    /// What was known before it was forgotten.
    forgotten: Option<Head>,
    /// Answers to questions up to this one do not count: they may be from before something was forgotten.
    floor: u64,
    /// The origin has said otherwise since: it is not used, but its blocks are still to be removed.
    doubted: bool,
}

impl Known {
    /// What is remembered, if that is new enough.
    pub(super) fn fresh(&self, revalidate: Revalidate, now_ns: u64) -> Option<Head> {
        let (head, asked) = self.remembered()?;
        asked
            .is_since(Since::of(revalidate, now_ns))
            .then_some(head)
    }

    /// What is remembered, whenever that was asked for.
    pub(super) fn remembered(&self) -> Option<(Head, AsOf)> {
        let seen = self.seen.lock();
        let head = seen.head.clone().filter(|_| !seen.doubted)?;
        let asked_ns = i128::from(seen.asked_ns) - i128::from(seen.older_ns);
        Some((head, AsOf::Known(asked_ns)))
    }

    /// The answer to question `number`. What was known until now, if that is another version.
    ///
    /// Two answers that differ, to questions that were under way at the same time, say nothing of which is newer: then neither is
    /// believed by who asks later. `put` is how many questions were put by now.
    pub(super) fn learn(&self, head: &Head, number: u64, asked_ns: u64, put: u64) -> Option<Head> {
        let mut seen = self.seen.lock();
        if number <= seen.number.max(seen.floor) {
            return None;
        }
        if number <= seen.put && seen.head.as_ref().is_some_and(|known| known != head) {
            seen.doubted = true;
            return None;
        }
        seen.put = put;
        let forgotten = seen.forgotten.take();
        let old = seen.head.replace(head.clone()).or(forgotten);
        (seen.number, seen.asked_ns, seen.doubted) = (number, asked_ns, false);
        seen.older_ns = 0;
        old.filter(|old| old != head)
    }

    /// Nothing is remembered.
    pub(super) fn is_unknown(&self) -> bool {
        self.seen.lock().head.is_none()
    }

    /// Nothing was ever asked for nor forgotten, nor looked for in the cache.
    pub(super) fn is_new(&self) -> bool {
        let seen = self.seen.lock();
        seen.head.is_none() && seen.number == 0 && !seen.recalled
    }

    /// Whether this answer is worth to be kept for the next life: it is another than before, or much younger.
    pub(super) fn is_worth_keeping(&self, head: &Head, now_ns: u64) -> bool {
        let seen = self.seen.lock();
        let known = seen.head.as_ref();
        let same = known == Some(head) && known.is_some_and(|known| known.about == head.about);
        let young = seen
            .kept_ns
            .is_some_and(|kept| now_ns.saturating_sub(kept) < KEPT_AGAIN_NS);
        !(same && young)
    }

    /// When the newest answer was kept, if it could be.
    pub(super) fn was_kept(&self, at_ns: Option<u64>) {
        self.seen.lock().kept_ns = at_ns;
    }

    /// Once in so many uses.
    pub(super) fn is_to_be_visited(&self) -> bool {
        let uses = self.uses.fetch_add(1, Ordering::Relaxed);
        uses % USES_PER_VISIT == USES_PER_VISIT - 1
    }

    pub(super) fn is_unkept(&self, unkept: Option<Unkept>) {
        // What was in its place goes outside of the lock: its end takes others.
        let _before = std::mem::replace(&mut *self.unkept.lock(), unkept);
    }

    pub(super) fn take_unkept(&self) -> Option<Unkept> {
        self.unkept.lock().take()
    }

    pub(super) fn has_unkept(&self) -> bool {
        self.unkept.lock().is_some()
    }

    /// What an earlier life knew counts less than any answer.
    pub(super) fn recall(&self, found: Option<Remembered>) {
        let mut seen = self.seen.lock();
        seen.recalled = true;
        let Some(found) = found.filter(|_| seen.head.is_none() && seen.number == 0) else {
            return;
        };
        seen.head = Some(found.head);
        (seen.asked_ns, seen.older_ns) = (found.now_ns, found.age_ns);
    }

    /// The object has another version than this one.
    pub(super) fn doubt(&self, version: &Version) {
        let mut seen = self.seen.lock();
        if seen
            .head
            .as_ref()
            .is_some_and(|head| head.version == *version)
        {
            seen.doubted = true;
        }
    }

    /// Nothing is known; answers to questions before `number` do not count. Blocks of what was known are removed once it
    /// is known to be another version, unless they `are_gone` already.
    fn forget(&self, number: u64, are_gone: bool) {
        let mut seen = self.seen.lock();
        let forgotten = seen.head.take().or(seen.forgotten.take());
        seen.forgotten = forgotten.filter(|_| !are_gone);
        seen.number = number.max(seen.number);
    }
}

/// All objects that are remembered: so many, and the others are asked for again.
#[derive(Debug)]
pub(super) struct Heads {
    known: quick_cache::sync::Cache<Arc<str>, Arc<Known>>,
    pub(super) asking: Arc<Registry<Opened>>,
    questions: AtomicU64,
    /// The newest question that something was forgotten behind: who is remembered anew does not know of what.
    forgotten: AtomicU64,
    /// Objects whose heads wait for room, and for somebody who waits for it.
    without_room: Mutex<Vec<Arc<str>>>,
}

impl Heads {
    pub(super) fn new(objects_max: usize) -> Self {
        Self {
            known: quick_cache::sync::Cache::new(objects_max),
            asking: Arc::default(),
            questions: AtomicU64::new(0),
            forgotten: AtomicU64::new(0),
            without_room: Mutex::default(),
        }
    }

    /// More than some are tried again when they are used, and not before.
    pub(super) fn has_no_room(&self, object: &Arc<str>) {
        let mut waiting = self.without_room.lock();
        if waiting.len() < WITHOUT_ROOM_MAX {
            waiting.push(Arc::clone(object));
        }
    }

    pub(super) fn without_room(&self) -> Vec<Arc<str>> {
        std::mem::take(&mut *self.without_room.lock())
    }

    pub(super) fn of(&self, object: &str) -> Arc<Known> {
        if let Some(known) = self.known.get(object) {
            return known;
        }
        // Outside of its lock, under which nothing of ours may wait.
        let new = Arc::new(self.new_known());
        let made = self.known.get_or_insert_with(&Arc::from(object), || {
            Ok::<_, std::convert::Infallible>(new)
        });
        match made {
            Ok(known) => known,
            Err(never) => match never {},
        }
    }

    fn new_known(&self) -> Known {
        let seen = Seen {
            floor: self.forgotten.load(Ordering::Acquire),
            ..Seen::default()
        };
        Known {
            seen: Mutex::new(seen),
            ..Known::default()
        }
    }

    pub(super) fn questions(&self) -> u64 {
        self.questions.load(Ordering::Relaxed)
    }

    pub(super) fn question(&self) -> u64 {
        self.questions.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Nobody is told what was asked for before.
    pub(super) fn forget(&self, object: &str, are_gone: bool) {
        let number = self.question();
        // Before: what is remembered from here on begins behind it.
        self.forgotten.fetch_max(number, Ordering::AcqRel);
        self.of(object).forget(number, are_gone);
        self.asking.ground(&name_of(object));
    }
}

/// No name of an object begins another's.
pub(super) fn name_of(object: &str) -> Key {
    let mut name = object.as_bytes().to_vec();
    name.push(0xFF);
    name.into()
}

#[cfg(test)]
mod tests;
