//! What threads do: the kinds of work, and the threads.

use std::cell::Cell;
use std::ops::{Range, RangeInclusive};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;

use crate::blocks::origin::{Head, Opened};
use crate::blocks::registry::Claim;
use crate::blocks::request::ReadOptions;
use crate::blocks::shared::Shared;
use crate::error::{Error, Result};
use crate::sync::JoinHandle;

thread_local! {
    /// Where the `Shared` lies that this thread works for.
    static SERVES: Cell<usize> = const { Cell::new(0) };
}

/// Work for a thread.
#[derive(Debug)]
pub(super) enum Work {
    Head(Asking),
    Run(Run),
    Ahead(Ahead),
    Drop(Stale),
    /// The head of this object, for which there was no room.
    Remember(Arc<str>),
    Flush,
}

/// A question for version and length.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) object: Arc<str>,
    pub(super) claim: Claim<Opened>,
    /// Bytes that may come with the answer.
    pub(super) wanted: Option<Range<u64>>,
    pub(super) options: ReadOptions,
}

/// Neighbouring blocks to be fetched by one read of the origin.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) object: Arc<str>,
    pub(super) head: Head,
    pub(super) first: u64,
    /// One for each block, in their order.
    pub(super) claims: Vec<Claim<Bytes>>,
    pub(super) options: ReadOptions,
    /// It is flown though nobody waits for it.
    pub(super) wanted_anyway: bool,
}

/// What a scan is expected to come to.
#[derive(Debug)]
pub(super) struct Ahead {
    pub(super) object: Arc<str>,
    pub(super) head: Head,
    pub(super) stretches: Vec<RangeInclusive<u64>>,
}

/// A version that was replaced.
#[derive(Debug)]
pub(super) struct Stale {
    pub(super) object: Arc<str>,
    pub(super) head: Head,
}

impl Shared {
    pub(super) fn work(self: &Arc<Self>, work: Work) {
        match work {
            Work::Head(asking) => self.ask_origin(asking),
            Work::Run(run) => self.fly(run),
            Work::Ahead(ahead) => self.read_ahead(&ahead),
            Work::Drop(stale) => self.drop_stale(&stale),
            Work::Remember(object) => self.remember_again(&object),
            Work::Flush => self.flush(),
        }
    }

    fn serve(self: &Arc<Self>) {
        // shuttle's threads are all one of the system's.
        if !cfg!(shuttle) {
            SERVES.set(Arc::as_ptr(self).addr());
        }
        while let Some(next) = self.queue.next() {
            let waited_ns = self.now_ns().saturating_sub(next.queued_ns);
            self.times.queue_wait.add(waited_ns);
            // The origin's panics end earlier; one of ours costs what was being done, whose claims are given up.
            let done = catch_unwind(AssertUnwindSafe(|| self.work(next.work)));
            self.queue.done(next.low);
            if done.is_err() {
                tracing::error!("a thread of the block cache panicked, and goes on");
            }
        }
    }
}

/// The threads of a `BlockCache`: joined when it is dropped, unless their origin is awaited.
#[derive(Debug)]
pub(super) struct Threads {
    shared: Arc<Shared>,
    running: Vec<JoinHandle<()>>,
    /// Not where the origin's answers are futures: they may need the thread that drops this.
    are_joined: bool,
}

impl Threads {
    pub(super) fn spawn(shared: &Arc<Shared>, are_joined: bool) -> Result<Self> {
        let mut threads = Self {
            shared: Arc::clone(shared),
            running: Vec::new(),
            are_joined,
        };
        for _ in 0..shared.plan.threads {
            let shared = Arc::clone(shared);
            let started = crate::sync::spawn("perennial-fetch", move || shared.serve());
            // Those that run already end when this is dropped.
            let thread = started.map_err(|e| Error::io("cannot start a thread", e))?;
            threads.running.push(thread);
        }
        Ok(threads)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.shared.queue.stop();
        // From within a closure that fills an entry they might wait for that entry, and one of them, in whose call of the
        // origin this is dropped, cannot wait for itself: they end by themselves then.
        let is_one_of_them = SERVES.get() == Arc::as_ptr(&self.shared).addr();
        if !self.are_joined || is_one_of_them || perennial_wal::may_wait().is_err() {
            return;
        }
        for thread in self.running.drain(..) {
            // A panic in it was reported when it happened.
            let _ = thread.join();
        }
    }
}
