//! Who asks for versions and lengths: one question about an object for all who may have the same answer.

use std::ops::Range;
use std::sync::Arc;

use crate::blocks::age::{AsOf, Since};
use crate::blocks::boarded::Boarded;
use crate::blocks::flights::{Flight, Landing, Ticket};
use crate::blocks::heads::name_of;
use crate::blocks::origin::{Head, Opened};
use crate::blocks::read::{TRIES, keeps_changing, lost};
use crate::blocks::registry::Claim;
use crate::blocks::request::{Priority, ReadOptions};
use crate::blocks::shared::Shared;
use crate::blocks::wait::{Cancel, Parker};
use crate::blocks::work::{Asking, Work};
use crate::error::Result;

/// A question was put, or need not be.
pub(super) enum Put {
    Known(Head),
    Waits(Boarded<Opened>, Bound),
}

/// How old the answer may be that somebody waits for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Bound {
    /// It is to his own question, or whatever it is.
    None,
    /// He joined before the origin was asked, or not too long after.
    Joined(Since),
    /// He had to join whatever was under way (B7).
    MustJoin(Since),
}

impl Bound {
    /// Another question is needed. `tried`: what is joined later was begun after the read.
    pub(super) fn is_passed(self, as_of: AsOf, tried: usize) -> bool {
        match self {
            Self::None => false,
            Self::MustJoin(since) if tried == 0 => !as_of.is_since(since),
            Self::Joined(since) | Self::MustJoin(since) => !as_of.was_since(since),
        }
    }
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
        if let Some(head) = self.known_head(object, &known, options.revalidate) {
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
            let (boarded, bound) = match self.put(object, options, wanted, &parker) {
                Put::Known(head) => return Ok(head.into()),
                Put::Waits(boarded, bound) => (boarded, bound),
            };
            let landing = boarded.landed(cancel);
            let again = bound.is_passed(boarded.as_of(), tried);
            if let Some(told) = self.told(object, options, landing, again) {
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
            Some(Landing::Lost) | None => Err(self.cancels()),
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
        let since = Since::of(options.revalidate, self.now_ns());
        // One that was asked too long ago may be answered with what was there before this read.
        let joins = if opens { Since::EVER } else { since };
        let mut urgent = Vec::new();
        let name = std::iter::once(name_of(object));
        let mut seats = self
            .heads
            .asking
            .board(name, ticket, joins, |job| urgent.push(job));
        urgent.iter().for_each(|job| self.queue.promote(job));
        let (flight, claim) = seats.swap_remove(0);
        let boarded = Boarded::new(&self.heads.asking, Arc::clone(&flight), parker);
        self.counters.joined_heads.add(u64::from(claim.is_none()));
        let bound = match claim {
            Some(claim) => {
                self.put_first(object, options, wanted, (&flight, claim));
                Bound::None
            }
            None if opens => Bound::MustJoin(since),
            None => Bound::Joined(since),
        };
        Put::Waits(boarded, bound)
    }

    /// Nobody else asks: the question is sent off, if it has not been answered meanwhile.
    fn put_first(
        self: &Arc<Self>,
        object: &str,
        options: &ReadOptions,
        wanted: Option<&Range<u64>>,
        (flight, claim): (&Arc<Flight<Opened>>, Claim<Opened>),
    ) {
        // Another's question may have been answered between the look and the boarding. Who has joined since looks how old it is.
        let known = self.heads.of(object);
        let since = Since::of(options.revalidate, self.now_ns());
        if let Some((head, as_of)) = known
            .remembered()
            .filter(|(_, known)| known.is_since(since))
        {
            flight.is_as_of(as_of);
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
