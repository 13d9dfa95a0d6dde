//! One fault at a time: what becomes of which call, and what the cache may make of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use perennial_failpoints::{Action, Call, CallKind, FaultFs, Plan, StdFs};

use crate::random::Random;

const EINTR: i32 = 4;
const EIO: i32 = 5;
const EMFILE: i32 = 24;
const ENOSPC: i32 = 28;

/// How long a slow call takes.
const SLOW: Duration = Duration::from_millis(5);

/// A fault, and what it may cause.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    action: Action,
    kinds: &'static [CallKind],
    /// It hits one of so many calls of these kinds.
    among: u64,
    /// The warnings that it may cause, by their message.
    pub(crate) causes: &'static [&'static str],
    /// One of these it must cause when it hits a cache at work.
    pub(crate) must_cause: &'static [&'static str],
}

impl Fault {
    /// Nobody may notice it.
    pub(crate) fn is_invisible(&self) -> bool {
        self.causes.is_empty()
    }
}

const READS: &[CallKind] = &[CallKind::Read];
const WRITES: &[CallKind] = &[CallKind::Write];
const TRANSFERS: &[CallKind] = &[CallKind::Read, CallKind::Write];
const SYNCS: &[CallKind] = &[CallKind::SyncData];
const OPENS: &[CallKind] = &[CallKind::Open, CallKind::Create];
const ROOM: &[CallKind] = &[CallKind::Create, CallKind::Allocate, CallKind::SetLen];
const ALL: &[CallKind] = &[
    CallKind::Read,
    CallKind::Write,
    CallKind::SyncData,
    CallKind::SyncDir,
    CallKind::Open,
    CallKind::Create,
    CallKind::Allocate,
    CallKind::Remove,
];

const CHANGED: &str = "the cache's health changed";
const POISONED: &str = "the log is poisoned";
const UPKEEP: &str = "upkeep failed";
const CLOSING: &str = "closing the cache failed";
const NO_CHECKPOINT: &str = "no checkpoint at close";
pub(crate) const FORGOTTEN: &str = "damage was found; what it may have been about is forgotten";
const NO_FILE: &str = "cannot make another segment";
const A_READ: &str = "a read failed";
const KEYS: &str = "keys cannot be read";
const STOPS: &[&str] = &[POISONED, CHANGED, UPKEEP, CLOSING, NO_CHECKPOINT, NO_FILE];
/// Of a large value that was not written all older entries may be given up, as for damage.
const UNWRITTEN: &[&str] = &[
    POISONED,
    CHANGED,
    UPKEEP,
    CLOSING,
    NO_CHECKPOINT,
    NO_FILE,
    FORGOTTEN,
];
const NO_ROOM: &[&str] = &[CHANGED, UPKEEP, CLOSING, NO_CHECKPOINT, NO_FILE];
const NO_HANDLE: &[&str] = &[
    CHANGED,
    UPKEEP,
    CLOSING,
    NO_CHECKPOINT,
    NO_FILE,
    A_READ,
    KEYS,
];
const UNREAD: &[&str] = &[
    A_READ,
    KEYS,
    "entries that were to be kept cannot be read",
    "segment header cannot be read",
    "segment cannot be read in full",
    "a checkpoint cannot be used; looking for an older one",
    FORGOTTEN,
    UPKEEP,
];

/// Each of them comes in its turn.
pub(crate) const FAULTS: &[Fault] = &[
    Fault {
        name: "EIO on a read",
        action: Action::FailRaw(EIO),
        kinds: READS,
        among: 60,
        causes: UNREAD,
        must_cause: &[],
    },
    Fault {
        name: "EIO on a write",
        action: Action::FailRaw(EIO),
        kinds: WRITES,
        among: 30,
        causes: UNWRITTEN,
        // Zeros that are written ahead of commits may fail.
        must_cause: &[],
    },
    Fault {
        name: "EIO on a sync",
        action: Action::FailRaw(EIO),
        kinds: SYNCS,
        among: 12,
        causes: STOPS,
        must_cause: &[POISONED, NO_FILE],
    },
    Fault {
        name: "ENOSPC on a write",
        action: Action::FailRaw(ENOSPC),
        kinds: WRITES,
        among: 30,
        causes: STOPS,
        must_cause: &[],
    },
    Fault {
        name: "ENOSPC for a file",
        action: Action::FailRaw(ENOSPC),
        kinds: ROOM,
        among: 3,
        causes: NO_ROOM,
        must_cause: &[],
    },
    Fault {
        name: "EMFILE on an open",
        action: Action::FailRaw(EMFILE),
        kinds: OPENS,
        among: 12,
        causes: NO_HANDLE,
        must_cause: &[],
    },
    Fault {
        name: "a short transfer",
        action: Action::Short(700),
        kinds: TRANSFERS,
        among: 60,
        causes: &[],
        must_cause: &[],
    },
    Fault {
        name: "EINTR",
        action: Action::FailRaw(EINTR),
        kinds: TRANSFERS,
        among: 60,
        causes: &[],
        must_cause: &[],
    },
    Fault {
        name: "a slow call",
        action: Action::Hold,
        kinds: ALL,
        among: 60,
        causes: &[],
        must_cause: &[],
    },
];

#[derive(Debug, Default)]
struct Armed {
    fault: Option<&'static Fault>,
    /// Calls of its kind that pass before.
    pass: u64,
    /// What it hit.
    hit: Option<(&'static Fault, String)>,
}

impl Armed {
    fn decide(&mut self, call: &Call<'_>) -> Action {
        let fault = self.fault.filter(|fault| fault.kinds.contains(&call.kind));
        let Some(fault) = fault else {
            return Action::Pass;
        };
        if self.pass > 0 {
            self.pass -= 1;
            return Action::Pass;
        }
        self.fault = None;
        let Call {
            kind,
            name,
            offset,
            len,
            ..
        } = call;
        self.hit = Some((fault, format!("{kind:?} {name} at {offset}, {len} bytes")));
        fault.action
    }
}

/// The real file system, in which the fault that is armed happens once.
#[derive(Debug, Clone)]
pub(crate) struct Injector {
    pub(crate) fs: FaultFs,
    armed: Arc<Mutex<Armed>>,
}

impl Injector {
    pub(crate) fn new() -> Self {
        let armed = Arc::<Mutex<Armed>>::default();
        let asked = Arc::clone(&armed);
        let plan = Plan::new(move |call| asked.lock().decide(call));
        Self {
            fs: FaultFs::new(Arc::new(StdFs), plan),
            armed,
        }
    }

    pub(crate) fn arm(&self, fault: &'static Fault, random: &mut Random) {
        *self.armed.lock() = Armed {
            fault: Some(fault),
            pass: random.below(fault.among),
            hit: None,
        };
    }

    /// Nothing happens any more. What did?
    pub(crate) fn disarm(&self) -> Option<(&'static Fault, String)> {
        std::mem::take(&mut *self.armed.lock()).hit
    }

    /// Lets each slow call go on after a while.
    pub(crate) fn let_go_in_time(&self, done: &AtomicBool) {
        while !done.load(Ordering::Relaxed) {
            thread::sleep(SLOW);
            if self.fs.held() > 0 {
                self.fs.let_go();
            }
        }
    }
}
