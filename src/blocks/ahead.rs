//! Reading ahead of scans: in the background, bounded, and dropped where enough is waiting.

use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::blocks::age::Since;
use crate::blocks::flights::Ticket;
use crate::blocks::heads::Known;
use crate::blocks::read::Reading;
use crate::blocks::request::{Priority, ReadOptions};
use crate::blocks::shared::Shared;
use crate::blocks::work::{Ahead, Work};

/// So much readahead for each thread may wait.
const WAITING: usize = 2;

impl Shared {
    /// A reader of the foreground reads these blocks. If that is a scan, what comes next is asked for.
    pub(super) fn expect_more(
        &self,
        reading: &Reading<'_>,
        known: &Known,
        read: &RangeInclusive<u64>,
    ) {
        if self.plan.readahead == 0 || self.plan.threads == 0 {
            return;
        }
        let blocks = reading.keys.cut.blocks();
        // Another reader of the object sees to it.
        let Some(mut scan) = known.scan.try_lock() else {
            return;
        };
        let stretches = scan.saw(read, blocks, self.plan.readahead);
        drop(scan);
        if stretches.is_empty() {
            return;
        }
        let ahead = Ahead {
            object: reading.object.into(),
            head: reading.head.clone(),
            stretches,
        };
        let at_most = WAITING * self.plan.threads;
        let queued = self
            .queue
            .push_ahead(Work::Ahead(ahead), self.now_ns(), at_most);
        self.counters.readahead_dropped.add(u64::from(!queued));
    }

    /// Sends off what is neither there nor under way.
    pub(super) fn read_ahead(self: &Arc<Self>, ahead: &Ahead) {
        let Ok(keys) = self.keys(&ahead.object, &ahead.head) else {
            return;
        };
        let mut reading = Reading {
            object: &ahead.object,
            head: &ahead.head,
            options: &ReadOptions::new().priority(Priority::Readahead),
            keys,
        };
        let keys = &mut reading.keys;
        let ticket = Ticket {
            parker: None,
            populate: true,
            priority: Priority::Readahead,
        };
        let landings = self.flights.landings();
        let numbers = ahead.stretches.iter().cloned().flatten();
        let mut missing: Vec<u64> = numbers.filter(|number| !self.has(keys, *number)).collect();
        missing.sort_unstable();
        let boxed = missing.iter().map(|number| Arc::from(keys.of(*number)));
        let boarded = self.flights.board(boxed, ticket, Since::EVER, |_| ());
        let landed_since = self.flights.landings() != landings;
        let mut claims = Vec::new();
        for (number, (_, claim)) in missing.into_iter().zip(boarded) {
            let Some(claim) = claim else { continue };
            let claim = if landed_since {
                self.look_again(keys, number, claim)
            } else {
                Some(claim)
            };
            claims.extend(claim.map(|claim| (number, claim)));
        }
        self.counters.readahead_blocks.add(claims.len() as u64);
        self.send(&reading, claims, true);
    }
}
