//! The script on a disk with a fault, and the machine when the fault has just shown and at the end.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use perennial::Cache;
use perennial_failpoints::lab::{Keeps, Oracle, Step, key, value};
use perennial_failpoints::{FaultFs, SimFs};

use super::judge::typed;
use super::{Fault, LAST_LIFE};
use crate::driver::small;

/// A machine after a fault, and what had returned by then.
pub(super) struct Moment {
    pub(super) machine: SimFs,
    pub(super) oracle: Oracle,
    pub(super) at: String,
    /// Commits and a close lie between the fault and this.
    pub(super) later: bool,
}

/// The script on a disk with a fault.
pub(super) struct Story {
    sim: SimFs,
    fs: FaultFs,
    cache: Option<Cache>,
    oracle: Oracle,
    op: u64,
}

impl Story {
    pub(super) fn tell(script: &[Step], n: u64, fault: Fault, keeps: Keeps) -> (Vec<Moment>, u64) {
        let sim = SimFs::new(n);
        let (plan, shown) = fault.plan(n, &sim);
        let mut story = Self {
            fs: FaultFs::new(Arc::new(sim.clone()), plan),
            sim,
            cache: None,
            oracle: Oracle::new(keeps),
            op: 0,
        };
        let mut moments = Vec::new();
        let mut shown_at = 0;
        let untouched = || !shown.load(Ordering::Relaxed);
        story.open();
        for (at, step) in script.iter().enumerate() {
            let before = untouched();
            story.play(*step);
            if before && !untouched() {
                shown_at = at;
                moments.push(story.moment(format!("after step {at}, {step:?}")));
            }
        }
        // Call N was of another kind: a life without a fault, or that of a later N.
        if !untouched() {
            let mut end = story.moment("at the end".to_owned());
            end.later = shown_at < LAST_LIFE;
            moments.push(end);
        }
        // A killed process closes nothing.
        std::mem::forget(story.cache.take());
        (moments, story.fs.calls())
    }

    fn moment(&mut self, at: String) -> Moment {
        // Where no file could be made the log did with those it had.
        if self.cache.as_ref().is_some_and(|c| c.stats().evicted > 0) {
            self.oracle.set_keeps(Keeps::WhatItLikes);
        }
        Moment {
            machine: self.sim.process_crash(),
            oracle: self.oracle.clone(),
            at,
            later: false,
        }
    }

    fn open(&mut self) {
        let opened = Cache::open_with(Arc::new(self.fs.clone()), "/cache", small(1 << 20));
        self.cache = opened.map_err(|e| typed(&e)).ok();
        self.check();
    }

    /// A running cache shows what is right, or nothing.
    fn check(&mut self) {
        let Some(cache) = &self.cache else { return };
        for key in self.oracle.known_keys() {
            let found = cache.get(&key).expect("a read never fails");
            if let Some(found) = found {
                let checked = self.oracle.check_running(&key, Some(&found));
                checked.unwrap_or_else(|why| panic!("while it runs: {why}"));
            }
        }
    }

    /// Plays a step; what fails was issued and not acknowledged.
    fn play(&mut self, step: Step) {
        if step == Step::Reopen {
            self.reopen();
            return;
        }
        let Some(cache) = self.cache.clone() else {
            return;
        };
        self.op += 1;
        match step {
            Step::Put {
                key: number,
                len,
                durable,
            } => {
                let key = key(number);
                let bytes = value(&key, self.op, usize::from(len));
                self.oracle.issued(&key, Some(self.op));
                let done = if durable {
                    cache.insert_durable(&key, &bytes)
                } else {
                    cache.insert(&key, &bytes)
                };
                self.acknowledge(&key, durable, done);
            }
            Step::Remove {
                key: number,
                durable,
            } => {
                let key = key(number);
                self.oracle.issued(&key, None);
                let done = if durable {
                    cache.remove_durable(&key)
                } else {
                    cache.remove(&key)
                };
                self.acknowledge(&key, durable, done);
            }
            Step::Flush => self.barrier(cache.flush()),
            _ => self.barrier(cache.checkpoint()),
        }
        self.check();
    }

    fn acknowledge<T>(&mut self, key: &[u8], durable: bool, done: perennial::Result<T>) {
        match done {
            Ok(_) => self.oracle.acknowledged(key, durable),
            Err(error) => typed(&error),
        }
    }

    fn barrier(&mut self, done: perennial::Result<()>) {
        match done {
            Ok(()) => self.oracle.all_durable(),
            Err(error) => typed(&error),
        }
    }

    fn reopen(&mut self) {
        if let Some(cache) = self.cache.take() {
            self.barrier(cache.close());
        }
        self.open();
    }
}
