//! What readers and threads of a `BlockCache` share.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;

use crate::blocks::below::Below;
use crate::blocks::heads::Heads;
use crate::blocks::key::Keys;
use crate::blocks::options::Plan;
use crate::blocks::origin::{Head, OriginError, OriginResult};
use crate::blocks::questions::is_more_urgent;
use crate::blocks::queue::{Job, Queue};
use crate::blocks::registry::Registry;
use crate::blocks::request::Priority;
use crate::blocks::stats::{AllTimes, BlockStats, Counters};
use crate::blocks::work::Work;
use crate::cache::Cache;
use crate::error::{Error, ErrorKind, Result};
use crate::sync::{AtomicU64, AtomicUsize, Ordering};

/// Every key has it.
const IDENTITY_BYTES: usize = 16 << 10;

pub(super) struct Shared {
    pub(super) cache: Cache,
    pub(super) origin: Box<dyn Below>,
    pub(super) identity: Box<str>,
    pub(super) plan: Plan,
    pub(super) flights: Arc<Registry<Bytes>>,
    pub(super) heads: Heads,
    pub(super) queue: Queue,
    pub(super) counters: Counters,
    pub(super) times: AllTimes,
    /// Threads that wait for the cache's writing, or would like to.
    patient: AtomicUsize,
    /// Blocks kept since the last flush began.
    pub(super) unflushed: AtomicU64,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn new(cache: Cache, origin: Box<dyn Below>, plan: Plan) -> Result<Self> {
        let identity = origin.identity();
        if identity.len() > IDENTITY_BYTES {
            return Err(Error::invalid(format!(
                "the origin's identity has {} bytes; at most {IDENTITY_BYTES}",
                identity.len()
            )));
        }
        Ok(Self {
            cache,
            identity: identity.into(),
            origin,
            flights: Arc::default(),
            heads: Heads::new(plan.objects_max),
            queue: Queue::new(plan.threads),
            plan,
            counters: Counters::default(),
            times: AllTimes::default(),
            patient: AtomicUsize::new(0),
            unflushed: AtomicU64::new(0),
        })
    }

    pub(super) fn now_ns(&self) -> u64 {
        self.cache.engine().fs.monotonic_ns()
    }

    pub(super) fn keys(&self, object: &str, head: &Head) -> Result<Keys> {
        Keys::new(&self.identity, object, head, self.plan.bits)
    }

    /// To a thread, or without any done here and now. `queued` is told the job, and says how urgent it has become.
    pub(super) fn submit(
        self: &Arc<Self>,
        work: Work,
        priority: Priority,
        queued: impl FnOnce(&Arc<Job>) -> Priority,
    ) {
        if self.plan.threads == 0 {
            return self.work(work);
        }
        let job = self.queue.push(work, priority, self.now_ns());
        if is_more_urgent(queued(&job), priority) {
            self.queue.promote(&job);
        }
    }

    /// Work that nobody waits for.
    pub(super) fn do_some_time(self: &Arc<Self>, work: Work) {
        if self.plan.threads == 0 {
            self.work(work);
        } else if !self.queue.push_chore(work, self.now_ns()) {
            tracing::debug!(
                "too much waits for the threads of the block cache: a chore is dropped"
            );
        }
    }

    /// For who is about to wait for the cache's writing.
    pub(super) fn patience(&self) -> Patience<'_> {
        let before = self.patient.fetch_add(1, Ordering::Relaxed);
        Patience {
            shared: self,
            may_wait: before < self.queue.low_threads(),
        }
    }

    pub(super) fn flush(&self) {
        let patience = self.patience();
        if !patience.may_wait {
            // The next block asks again.
            let again = self.plan.flush_every.map_or(0, |every| every - 1);
            return self.unflushed.store(again, Ordering::Relaxed);
        }
        self.unflushed.store(0, Ordering::Relaxed);
        if let Err(error) = self.cache.flush() {
            tracing::debug!(%error, "a flush for the block cache failed");
            self.counters.cache_failures.add(1);
        }
    }

    pub(super) fn stats(&self) -> BlockStats {
        let below = self.cache.stats();
        BlockStats {
            in_flight: (self.flights.len() + self.heads.asking.len()) as u64,
            entries: below.entries,
            file_bytes: below.file_bytes,
            evicted: below.evicted,
            get: self.times.get.told(),
            disk_read: self.times.disk_read.told(),
            queue_wait: self.times.queue_wait.told(),
            fill: self.times.fill.told(),
            disk_write: self.times.disk_write.told(),
            ..self.counters.snapshot()
        }
    }
}

/// Of the threads one never waits for the cache's writing: it is left to the readers.
pub(super) struct Patience<'a> {
    shared: &'a Shared,
    pub(super) may_wait: bool,
}

impl Drop for Patience<'_> {
    fn drop(&mut self) {
        self.shared.patient.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A call of the origin: a panic is a failure of that call.
pub(super) fn guarded<T>(call: impl FnOnce() -> OriginResult<T>) -> OriginResult<T> {
    catch_unwind(AssertUnwindSafe(call))
        .unwrap_or_else(|_| Err(OriginError::from("the origin panicked")))
}

pub(super) fn cancelled() -> Error {
    Error::new(ErrorKind::Cancelled, "the read was cancelled")
}
