//! From missing blocks to runs: who fetches what, and what is fetched together.

use std::sync::Arc;

use bytes::Bytes;

use crate::blocks::age::Since;
use crate::blocks::boarded::Boarded;
use crate::blocks::flights::{Landing, Ticket};
use crate::blocks::key::Keys;
use crate::blocks::read::Reading;
use crate::blocks::registry::{Claim, Registry};
use crate::blocks::shared::Shared;
use crate::blocks::wait::{Cancel, Parker};
use crate::blocks::work::{Run, Work};

/// The claims of one read, by the numbers of their blocks.
pub(super) type Claims = Vec<(u64, Claim<Bytes>)>;

impl Shared {
    /// Joins the flights of these blocks, in their order, and sends off those that nobody else has. `landings` is how
    /// many were over before the cache was looked into.
    pub(super) fn board(
        self: &Arc<Self>,
        reading: &mut Reading<'_>,
        numbers: &[u64],
        parker: &Arc<Parker>,
        landings: u64,
    ) -> Vec<Boarded<Bytes>> {
        let ticket = Ticket {
            parker: Some(parker),
            populate: reading.options.populate,
            priority: reading.options.priority,
        };
        let mut urgent = Vec::new();
        let keys = &mut reading.keys;
        let boxed = numbers.iter().map(|number| Arc::from(keys.of(*number)));
        let boarded = Registry::board(&self.flights, boxed, ticket, Since::EVER, |job| {
            urgent.push(job)
        });
        urgent.iter().for_each(|job| self.queue.promote(job));
        let landed_since = self.flights.landings() != landings;
        let mut waiting = Vec::with_capacity(boarded.len());
        let mut claims = Vec::new();
        for (number, (flight, claim)) in numbers.iter().copied().zip(boarded) {
            waiting.push(Boarded::new(&self.flights, flight, parker));
            self.counters.joined.add(u64::from(claim.is_none()));
            let claim = claim.and_then(|claim| {
                if landed_since {
                    self.look_again(&mut reading.keys, number, claim)
                } else {
                    Some(claim)
                }
            });
            claims.extend(claim.map(|claim| (number, claim)));
        }
        self.send(reading, claims, false);
        waiting
    }

    /// Another's flight may have been over between the look and the boarding (B3). `None`: it was.
    pub(super) fn look_again(
        &self,
        keys: &mut Keys,
        number: u64,
        claim: Claim<Bytes>,
    ) -> Option<Claim<Bytes>> {
        let whole = 0..keys.cut.bytes_of(number);
        let Some(block) = self.cached(keys, number, &whole) else {
            return Some(claim);
        };
        claim.land(Landing::Good(block));
        claim.end(true);
        None
    }

    /// Claims become runs of neighbours, each no longer than one read of the origin may be.
    pub(super) fn send(
        self: &Arc<Self>,
        reading: &Reading<'_>,
        claims: Claims,
        wanted_anyway: bool,
    ) {
        let options = reading.options;
        let object: Arc<str> = reading.object.into();
        let mut claims = claims.into_iter().peekable();
        while let Some((first, claim)) = claims.next() {
            let mut run = vec![claim];
            let is_next = |run: &Vec<_>, number: u64| {
                number == first + run.len() as u64 && (run.len() as u64) < self.plan.run_blocks
            };
            while let Some((_, claim)) = claims.next_if(|(number, _)| is_next(&run, *number)) {
                run.push(claim);
            }
            // What is left is given up. With threads it is they who do that, unless somebody else waits for it.
            if self.plan.threads == 0 && options.cancel.as_ref().is_some_and(Cancel::is_cancelled) {
                return;
            }
            let flights: Vec<_> = run.iter().map(|claim| Arc::clone(&claim.flight)).collect();
            let run = Run {
                object: Arc::clone(&object),
                head: reading.head.clone(),
                first,
                claims: run,
                options: options.without_cancel(),
                wanted_anyway,
            };
            self.submit(Work::Run(run), options.priority, |job| {
                let urgency = flights.iter().map(|flight| flight.is_queued(job));
                urgency.min().unwrap_or(options.priority)
            });
        }
    }
}
