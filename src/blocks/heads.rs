//! Versions and lengths that are remembered, and who asks for them.
//!
//! Answers may come in another order than they were asked for. Each question draws a number when it begins, and an answer
//! counts only if nothing later is known (B5).

use std::sync::Arc;

use crate::blocks::flights::{Boarded, Landing, Registry, Ticket};
use crate::blocks::origin::{Head, OriginError, Version};
use crate::blocks::request::{Priority, ReadOptions, Revalidate};
use crate::blocks::scan::Detector;
use crate::blocks::shared::{Shared, cancelled, guarded};
use crate::blocks::wait::Parker;
use crate::blocks::work::{Asking, Stale, Work};
use crate::error::{Error, ErrorKind, Result};
use crate::stats::Counter;
use crate::sync::{AtomicU64, Mutex, Ordering};

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
                u128::from(now_ns.saturating_sub(seen.asked_ns)) <= age.as_nanos()
            }
            Revalidate::Always => false,
        };
        seen.head.clone().filter(|_| fresh && !seen.doubted)
    }

    /// The answer to question `number`. What was known until now, if that is another version.
    fn learn(&self, head: &Head, number: u64, asked_ns: u64) -> Option<Head> {
        let mut seen = self.seen.lock();
        if number <= seen.number {
            return None;
        }
        let old = seen.head.replace(head.clone());
        (seen.number, seen.asked_ns, seen.doubted) = (number, asked_ns, false);
        old.filter(|old| old != head)
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

    /// Nothing is known; answers to questions before `number` do not count.
    fn forget(&self, number: u64) {
        let mut seen = self.seen.lock();
        (seen.head, seen.number) = (None, number.max(seen.number));
    }
}

/// All objects that are remembered: so many, and the others are asked for again.
#[derive(Debug)]
pub(super) struct Heads {
    known: quick_cache::sync::Cache<Arc<str>, Arc<Known>>,
    pub(super) asking: Arc<Registry<Head>>,
    questions: AtomicU64,
}

impl Heads {
    pub(super) fn new(objects_max: usize) -> Self {
        Self {
            known: quick_cache::sync::Cache::new(objects_max),
            asking: Arc::default(),
            questions: AtomicU64::new(0),
        }
    }

    pub(super) fn of(&self, object: &str) -> Arc<Known> {
        if let Some(known) = self.known.get(object) {
            return known;
        }
        let made = self.known.get_or_insert_with(&Arc::from(object), || {
            Ok::<_, std::convert::Infallible>(Arc::default())
        });
        match made {
            Ok(known) => known,
            Err(never) => match never {},
        }
    }

    fn question(&self) -> u64 {
        self.questions.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Nobody is told what was asked for before.
    pub(super) fn forget(&self, object: &str) {
        self.of(object).forget(self.question());
        self.asking.ground(&name_of(object));
    }
}

/// No name of an object begins another's.
fn name_of(object: &str) -> Box<[u8]> {
    let mut name = object.as_bytes().to_vec();
    name.push(0xFF);
    name.into()
}

impl Shared {
    /// Version and length, as old as the options allow.
    pub(super) fn head(self: &Arc<Self>, object: &str, options: &ReadOptions) -> Result<Head> {
        let known = self.heads.of(object);
        if let Some(head) = known.fresh(options.revalidate, self.now_ns()) {
            return Ok(head);
        }
        perennial_wal::may_wait()?;
        let parker = Arc::new(Parker::default());
        let cancel = options.cancel.as_ref();
        let _wakes = cancel.map(|cancel| cancel.wakes(&parker));
        loop {
            if let Some(landing) = self.ask(object, options, &parker) {
                return match landing {
                    Landing::Good(head) => Ok(head),
                    Landing::Failed(error) => Err(error),
                    Landing::Changed => Err(Error::new(
                        ErrorKind::Changed,
                        format!("{object} changes more often than its length can be asked for"),
                    )),
                    Landing::Lost => continue,
                };
            }
            self.counters.cancelled.add(1);
            return Err(cancelled());
        }
    }

    /// `None`: cancelled.
    fn ask(
        self: &Arc<Self>,
        object: &str,
        options: &ReadOptions,
        parker: &Arc<Parker>,
    ) -> Option<Landing<Head>> {
        let ticket = Ticket {
            parker: Some(parker),
            populate: false,
            priority: options.priority,
        };
        // A question that has begun may be answered with what was there before this read.
        let young = options.revalidate == Revalidate::Always;
        let mut urgent = Vec::new();
        let name = std::iter::once(name_of(object));
        let boarded = self
            .heads
            .asking
            .board(name, ticket, young, |job| urgent.push(job));
        urgent.iter().for_each(|job| self.queue.promote(job));
        let (flight, claim) = boarded.into_iter().next()?;
        let boarded = Boarded::new(Arc::clone(&flight), parker);
        // Another's question may have been answered between the look and the boarding. Nobody has joined since who must not be
        // given an answer as old as that.
        let answered = claim.as_ref().and_then(|_| {
            self.heads
                .of(object)
                .fresh(options.revalidate, self.now_ns())
        });
        if let (Some(claim), Some(head)) = (&claim, &answered) {
            claim.land(Landing::Good(head.clone()));
        } else if let Some(claim) = claim {
            let asking = Asking {
                object: object.into(),
                claim,
            };
            self.submit(Work::Head(asking), options.priority, |job| {
                flight.is_queued(job)
            });
        }
        boarded.landed(options.cancel.as_ref())
    }

    /// Asks the origin, on whatever thread.
    pub(super) fn ask_origin(self: &Arc<Self>, asking: Asking) {
        let Asking { object, claim } = asking;
        if self
            .heads
            .asking
            .begin_or_give_up(std::slice::from_ref(&claim), false)
        {
            self.counters.unwanted_fetches.add(1);
            return;
        }
        let (number, asked_ns) = (self.heads.question(), self.now_ns());
        self.counters.heads.add(1);
        let landing = match guarded(|| self.origin.head(&object)) {
            Ok(head) => {
                self.learn(&object, &head, number, asked_ns);
                Landing::Good(head)
            }
            Err(OriginError::Changed) => Landing::Changed,
            Err(OriginError::Failed(why)) => {
                self.counters.head_failures.add(1);
                let message = format!("the origin does not say which version {object} has: {why}");
                Landing::Failed(Error::new(ErrorKind::Origin, message).with_source(why))
            }
        };
        claim.land(landing);
        claim.end(false);
    }

    fn learn(self: &Arc<Self>, object: &Arc<str>, head: &Head, number: u64, asked_ns: u64) {
        let Some(old) = self.heads.of(object).learn(head, number, asked_ns) else {
            return;
        };
        self.counters.changes.add(1);
        let stale = Stale {
            object: Arc::clone(object),
            head: old,
        };
        self.do_some_time(Work::Drop(stale));
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
        Head {
            version: version.into(),
            len: 7,
        }
    }

    #[test]
    fn a_late_answer_does_not_count() {
        let known = Known::default();
        assert_eq!(known.learn(&head(2), 5, 100), None);
        assert_eq!(known.learn(&head(1), 4, 90), None);
        assert_eq!(known.fresh(Revalidate::Never, 100), Some(head(2)));
        assert_eq!(known.learn(&head(3), 6, 110), Some(head(2)));
        assert_eq!(known.learn(&head(3), 7, 120), None);
        known.forget(9);
        assert_eq!(known.learn(&head(3), 8, 130), None);
        assert_eq!(known.fresh(Revalidate::Never, 130), None);
    }

    #[test]
    fn what_is_remembered_is_as_old_as_it_may_be() {
        let known = Known::default();
        known.learn(&head(1), 1, 100);
        let after = |ns| Revalidate::After(Duration::from_nanos(ns));
        assert!(known.fresh(after(50), 150).is_some());
        assert!(known.fresh(after(50), 151).is_none());
        assert!(known.fresh(Revalidate::Always, 100).is_none());
        known.doubt(&2.into());
        assert!(known.fresh(Revalidate::Never, 100).is_some());
        known.doubt(&1.into());
        assert!(known.fresh(Revalidate::Never, 100).is_none());
        assert_eq!(known.learn(&head(2), 2, 200), Some(head(1)));
    }
}
