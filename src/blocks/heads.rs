//! Versions and lengths that are remembered, and who asks for them.
//!
//! Answers may come in another order than they were asked for. Each question draws a number when it begins, and an answer
//! counts only if nothing later is known (B5).

use std::ops::Range;
use std::sync::Arc;

use crate::blocks::boarded::Boarded;
use crate::blocks::flights::{Claim, Flight, Landing, Registry, Ticket};
use crate::blocks::origin::{Head, Opened, Version};
use crate::blocks::read::{TRIES, keeps_changing, lost};
use crate::blocks::remembered::Remembered;
use crate::blocks::request::{Priority, ReadOptions, Revalidate};
use crate::blocks::scan::Detector;
use crate::blocks::shared::{Shared, cancelled};
use crate::blocks::wait::{Cancel, Parker};
use crate::blocks::work::{Asking, Work};
use crate::error::Result;
use crate::stats::Counter;
use crate::sync::{AtomicU64, Mutex, Ordering};

/// An answer that says the same as before is kept again after a minute.
const KEPT_AGAIN_NS: u64 = 60_000_000_000;

/// What is remembered of one object.
#[derive(Debug, Default)]
pub(super) struct Known {
    seen: Mutex<Seen>,
    pub(super) scan: Mutex<Detector>,
    pub(super) hits: Counter,
    pub(super) misses: Counter,
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
        let seen = self.seen.lock();
        let fresh = match revalidate {
            Revalidate::Never => true,
            Revalidate::After(age) => {
                let since_ns = u128::from(now_ns.saturating_sub(seen.asked_ns));
                since_ns + u128::from(seen.older_ns) <= age.as_nanos()
            }
            Revalidate::Always => false,
        };
        seen.head.clone().filter(|_| fresh && !seen.doubted)
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
}

impl Heads {
    pub(super) fn new(objects_max: usize) -> Self {
        Self {
            known: quick_cache::sync::Cache::new(objects_max),
            asking: Arc::default(),
            questions: AtomicU64::new(0),
            forgotten: AtomicU64::new(0),
        }
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
fn name_of(object: &str) -> Box<[u8]> {
    let mut name = object.as_bytes().to_vec();
    name.push(0xFF);
    name.into()
}

/// A question was put, or need not be.
pub(super) enum Put {
    Known(Head),
    Waits {
        boarded: Boarded<Opened>,
        /// The answer may be older than the read: another question is needed then.
        again: bool,
    },
}

impl Shared {
    /// Version and length, as old as the options allow.
    pub(super) fn head(self: &Arc<Self>, object: &str, options: &ReadOptions) -> Result<Head> {
        Ok(self.opened(object, options, None)?.head)
    }

    /// The same, and perhaps bytes of `wanted`: where nothing is known they come with the answer.
    pub(super) fn opened(
        self: &Arc<Self>,
        object: &str,
        options: &ReadOptions,
        wanted: Option<&Range<u64>>,
    ) -> Result<Opened> {
        let known = self.heads.of(object);
        if let Some(head) = known.fresh(options.revalidate, self.now_ns()) {
            return Ok(head.into());
        }
        if self.recalls(&known) {
            known.recall(self.remembered(object));
        }
        perennial_wal::may_wait()?;
        let parker = Arc::new(Parker::default());
        let cancel = options.cancel.as_ref();
        let _wakes = cancel.map(|cancel| cancel.wakes(&parker));
        for tried in 0..TRIES {
            let (boarded, again) = match self.put(object, options, wanted, &parker) {
                Put::Known(head) => return Ok(head.into()),
                // What is joined later was begun after the read.
                Put::Waits { boarded, again } => (boarded, again && tried == 0),
            };
            if let Some(told) = self.told(object, options, boarded.landed(cancel), again) {
                return told;
            }
        }
        Err(lost(object))
    }

    /// What a landing says to who waited for it; nothing, if it has to be asked anew.
    pub(super) fn told(
        &self,
        object: &str,
        options: &ReadOptions,
        landing: Option<Landing<Opened>>,
        again: bool,
    ) -> Option<Result<Opened>> {
        let goes_on = !options.cancel.as_ref().is_some_and(Cancel::is_cancelled);
        Some(match landing {
            // Good or not, it may be older than the read.
            Some(Landing::Good(_) | Landing::Failed(_) | Landing::Changed) if again => return None,
            Some(Landing::Lost) if goes_on => return None,
            Some(Landing::Good(opened)) => Ok(opened),
            Some(Landing::Failed(error)) => Err(error),
            Some(Landing::Changed) => Err(keeps_changing(object)),
            Some(Landing::Lost) | None => {
                self.counters.cancelled.add(1);
                Err(cancelled())
            }
        })
    }

    /// Joins the question for the object, or puts it.
    pub(super) fn put(
        self: &Arc<Self>,
        object: &str,
        options: &ReadOptions,
        wanted: Option<&Range<u64>>,
        parker: &Arc<Parker>,
    ) -> Put {
        let known = self.heads.of(object);
        if let Some(head) = known.fresh(options.revalidate, self.now_ns()) {
            return Put::Known(head);
        }
        let ticket = Ticket {
            parker: Some(parker),
            populate: options.populate,
            priority: options.priority,
        };
        // An answer that brings bytes is waited for by all: else its blocks would be fetched twice (B7).
        let opens = self.plan.remember && known.is_unknown();
        let always = options.revalidate == Revalidate::Always;
        // A question that has begun may be answered with what was there before this read.
        let young = always && !opens;
        let mut urgent = Vec::new();
        let name = std::iter::once(name_of(object));
        let mut seats = self
            .heads
            .asking
            .board(name, ticket, young, |job| urgent.push(job));
        urgent.iter().for_each(|job| self.queue.promote(job));
        let (flight, claim) = seats.swap_remove(0);
        let boarded = Boarded::new(Arc::clone(&flight), parker);
        let again = claim.is_none() && always && opens;
        self.counters.joined_heads.add(u64::from(claim.is_none()));
        if let Some(claim) = claim {
            self.put_first(object, options, wanted, (&flight, claim));
        }
        Put::Waits { boarded, again }
    }

    /// Nobody else asks: the question is sent off, if it has not been answered meanwhile.
    fn put_first(
        self: &Arc<Self>,
        object: &str,
        options: &ReadOptions,
        wanted: Option<&Range<u64>>,
        (flight, claim): (&Arc<Flight<Opened>>, Claim<Opened>),
    ) {
        // Another's question may have been answered between the look and the boarding. Nobody has joined since who must not be
        // given an answer as old as that.
        let known = self.heads.of(object);
        if let Some(head) = known.fresh(options.revalidate, self.now_ns()) {
            return claim.land(Landing::Good(head.into()));
        }
        let opens = self.plan.remember && known.is_unknown();
        let asking = Asking {
            object: object.into(),
            claim,
            wanted: wanted.filter(|_| opens).cloned(),
            options: options.without_cancel(),
        };
        self.submit(Work::Head(asking), options.priority, |job| {
            flight.is_queued(job)
        });
    }
}

/// Whether a question that waits in the queue is urgent enough.
pub(super) const fn is_more_urgent(now: Priority, queued_as: Priority) -> bool {
    (now as u8) < (queued_as as u8)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn head(version: u64) -> Head {
        Head::new(version, 7)
    }

    #[test]
    fn a_late_answer_does_not_count() {
        let known = Known::default();
        assert_eq!(known.learn(&head(2), 5, 100, 5), None);
        assert_eq!(known.learn(&head(1), 4, 90, 4), None);
        assert_eq!(known.fresh(Revalidate::Never, 100), Some(head(2)));
        assert_eq!(known.learn(&head(3), 6, 110, 6), Some(head(2)));
        assert_eq!(known.learn(&head(3), 7, 120, 7), None);
        known.forget(9, true);
        assert_eq!(known.learn(&head(3), 8, 130, 8), None);
        assert_eq!(known.fresh(Revalidate::Never, 130), None);
        assert_eq!(known.learn(&head(4), 10, 140, 10), None);
        known.forget(11, false);
        assert_eq!(known.learn(&head(5), 12, 150, 12), Some(head(4)));
        assert_eq!(known.fresh(Revalidate::Never, 150), Some(head(5)));
    }

    #[test]
    fn answers_at_the_same_time_are_doubted() {
        let known = Known::default();
        // 6 was put when 5 was answered.
        assert_eq!(known.learn(&head(2), 5, 100, 6), None);
        assert_eq!(known.learn(&head(1), 6, 100, 6), None);
        assert_eq!(known.fresh(Revalidate::Never, 100), None);
        assert_eq!(known.learn(&head(2), 7, 110, 8), None);
        assert_eq!(known.fresh(Revalidate::Never, 110), Some(head(2)));
        assert_eq!(known.learn(&head(2), 8, 110, 8), None);
        assert_eq!(known.learn(&head(3), 9, 120, 9), Some(head(2)));
    }

    #[test]
    fn what_is_remembered_is_as_old_as_it_may_be() {
        let known = Known::default();
        known.learn(&head(1), 1, 100, 1);
        let after = |ns| Revalidate::After(Duration::from_nanos(ns));
        assert!(known.fresh(after(50), 150).is_some());
        assert!(known.fresh(after(50), 151).is_none());
        assert!(known.fresh(Revalidate::Always, 100).is_none());
        known.doubt(&2.into());
        assert!(known.fresh(Revalidate::Never, 100).is_some());
        known.doubt(&1.into());
        assert!(known.fresh(Revalidate::Never, 100).is_none());
        assert_eq!(known.learn(&head(2), 2, 200, 2), Some(head(1)));
    }
}
