//! How a life ends and the next begins, and that there is service again once a fault is over.

use std::sync::atomic::Ordering;

use perennial::{Cache, ErrorKind, HealthState};

use crate::child::live_and_die;
use crate::faults::Fault;
use crate::lives;
use crate::round::{Hit, Soak};
use crate::watch::Counters;

impl Soak {
    /// Until another open.
    pub(crate) fn is_stopped(&self) -> bool {
        let health = self.cache().health();
        health.state != HealthState::Healthy && !health.passes()
    }

    /// The fault is over: what passes has passed, and what stays is gone with the next open.
    pub(crate) fn serve_again(&mut self) -> Result<(), String> {
        let mut served = self.serve();
        if self.is_stopped() {
            if !matches!(&served, Err(error) if error.kind() == ErrorKind::Poisoned) {
                return Err(format!("{served:?}, and {}", self.cache().health()));
            }
            self.restart(None, &mut None)?;
            served = self.serve();
        }
        served.map_err(|error| format!("on a good disk: {error}"))?;
        match self.cache().health() {
            health if health.state == HealthState::Healthy => Ok(()),
            health => Err(format!("the fault is over, and the cache is {health}")),
        }
    }

    fn serve(&self) -> perennial::Result<()> {
        self.cache().insert_durable("after", "the fault")?;
        self.cache().flush()
    }

    /// The cache is left in one of three ways and opened again, and the fault may hit either.
    pub(crate) fn restart(
        &mut self,
        fault: Option<&'static Fault>,
        hit: &mut Option<Hit>,
    ) -> Result<(), String> {
        let way = self.way_to_go();
        *self.tally.left.entry(way).or_default() += 1;
        let stopped = self.is_stopped();
        // A child is to find a good disk.
        self.arm(fault.filter(|_| way != "killed"));
        let cache = self.cache.take().unwrap();
        let closed = if way == "dropped" {
            drop(cache);
            Ok(())
        } else {
            cache.close()
        };
        if way == "killed" {
            self.tally.operations += live_and_die(&self.place, &mut self.book, &mut self.random)?;
            self.arm(fault);
        }
        let mut opened = self.open();
        if fault.is_some() {
            *hit = self.disarm(false);
        }
        let may = Hit::is_visible(hit.as_ref());
        if opened.is_err() && may {
            opened = self.open();
        }
        self.cache = Some(opened.map_err(|error| format!("opening: {error}"))?);
        self.counters = Counters::default();
        match closed {
            Err(error) if !(may || stopped) => Err(format!("closing: {error}")),
            _ => Ok(()),
        }
    }

    /// A child takes any warning for a failure, and one that begins empty is warned.
    fn way_to_go(&mut self) -> &'static str {
        let begins_empty = self.in_memory.load(Ordering::SeqCst);
        let ways = ["closed", "dropped", "killed"];
        let ways = &ways[..if begins_empty { 2 } else { 3 }];
        self.random.pick(ways)
    }

    fn open(&mut self) -> perennial::Result<Cache> {
        lives::open(
            &self.injector,
            &self.place,
            &mut self.random,
            &self.in_memory,
        )
    }
}
