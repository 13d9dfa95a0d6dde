//! What waits for a thread: three queues, the most urgent first.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::blocks::request::Priority;
use crate::blocks::work::Work;
use crate::sync::{Condvar, Mutex};

/// Work that nobody waits for and that nothing rests on, at most; what comes on top is dropped.
const CHORES_MAX: usize = 1024;

/// Work in a queue. It may be in two of them; who comes first takes it.
#[derive(Debug)]
pub(super) struct Job {
    work: Mutex<Option<Work>>,
    queued_ns: u64,
}

impl Job {
    /// Its claims are given up, outside of all locks.
    fn give_up(&self) {
        let work = self.work.lock().take();
        drop(work);
    }
}

/// Work for one thread.
#[derive(Debug)]
pub(super) struct Next {
    pub(super) work: Work,
    pub(super) queued_ns: u64,
    /// Not of the foreground.
    pub(super) low: bool,
}

#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    /// Threads that may do other work than the foreground's.
    low_threads: usize,
}

#[derive(Debug, Default)]
struct State {
    waiting: [VecDeque<Arc<Job>>; 3],
    low_running: usize,
    stopped: bool,
}

const fn place(priority: Priority) -> usize {
    match priority {
        Priority::Foreground => 0,
        Priority::Readahead => 1,
        Priority::Background => 2,
    }
}

impl Queue {
    /// One of the threads is left to the foreground, if there are two.
    pub(super) fn new(threads: usize) -> Self {
        Self {
            state: Mutex::default(),
            wake: Condvar::default(),
            low_threads: threads.saturating_sub(1).max(1),
        }
    }

    pub(super) fn low_threads(&self) -> usize {
        self.low_threads
    }

    pub(super) fn push(&self, work: Work, priority: Priority, now_ns: u64) -> Arc<Job> {
        let job = Arc::new(Job {
            work: Mutex::new(Some(work)),
            queued_ns: now_ns,
        });
        self.enter(&job, priority);
        job
    }

    /// The same job, as one of the foreground. Where it stood it is passed over.
    pub(super) fn promote(&self, job: &Arc<Job>) {
        self.enter(job, Priority::Foreground);
    }

    fn enter(&self, job: &Arc<Job>, priority: Priority) {
        let mut state = self.state.lock();
        if state.stopped {
            drop(state);
            job.give_up();
            return;
        }
        state.waiting[place(priority)].push_back(Arc::clone(job));
        drop(state);
        self.wake.notify_one();
    }

    /// Readahead, unless as much waits as can be of use: `at_most`. False: it is dropped.
    pub(super) fn push_ahead(&self, work: Work, now_ns: u64, at_most: usize) -> bool {
        self.push_unless(work, Priority::Readahead, now_ns, at_most)
    }

    /// Work that nothing rests on.
    pub(super) fn push_chore(&self, work: Work, now_ns: u64) -> bool {
        self.push_unless(work, Priority::Background, now_ns, CHORES_MAX)
    }

    fn push_unless(&self, work: Work, priority: Priority, now_ns: u64, at_most: usize) -> bool {
        if self.state.lock().waiting[place(priority)].len() >= at_most {
            return false;
        }
        self.push(work, priority, now_ns);
        true
    }

    /// The next work, when there is some; `None` once it was stopped.
    pub(super) fn next(&self) -> Option<Next> {
        let mut state = self.state.lock();
        loop {
            if state.stopped {
                return None;
            }
            if let Some((job, low)) = self.pop(&mut state) {
                // A promoted job that was taken already leaves an empty one behind.
                let Some(work) = job.work.lock().take() else {
                    continue;
                };
                state.low_running += usize::from(low);
                return Some(Next {
                    work,
                    queued_ns: job.queued_ns,
                    low,
                });
            }
            state = self.wake.wait(state);
        }
    }

    fn pop(&self, state: &mut State) -> Option<(Arc<Job>, bool)> {
        let [foreground, low @ ..] = &mut state.waiting;
        if let Some(job) = foreground.pop_front() {
            return Some((job, false));
        }
        if state.low_running >= self.low_threads {
            return None;
        }
        let job = low.iter_mut().find_map(VecDeque::pop_front)?;
        Some((job, true))
    }

    /// What [`next`](Self::next) gave is done: another thread may take what had to wait for it.
    pub(super) fn done(&self, low: bool) {
        if low {
            self.state.lock().low_running -= 1;
            self.wake.notify_one();
        }
    }

    /// Threads end; what waits is dropped, with its claims.
    pub(super) fn stop(&self) {
        let dropped = {
            let mut state = self.state.lock();
            state.stopped = true;
            std::mem::take(&mut state.waiting)
        };
        self.wake.notify_all();
        for job in dropped.into_iter().flatten() {
            job.give_up();
        }
    }
}
