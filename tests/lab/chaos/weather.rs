//! The faults: which may come over a world, and what may be asked of it then.

use std::sync::{Arc, Mutex};

use perennial_failpoints::lab::Oracle;
use perennial_failpoints::{Action, Call, CallKind, Plan, SimFs};

use super::options::pick;
use crate::random::Rng;

const EINTR: i32 = 4;
const EIO: i32 = 5;
const EMFILE: i32 = 24;
const ENOSPC: i32 = 28;

/// The worst that may come over a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Climate {
    /// Nothing but crashes.
    Calm,
    /// Calls are interrupted, or transfer a part.
    Breezy,
    /// Calls fail, syncs fail and give their bytes up, the disk is full.
    Stormy,
    /// Nobody is told: lost, misdirected and flipped, on the way and at rest, syncs that lie.
    Dark,
}

impl Climate {
    pub(super) fn drawn(rng: &mut Rng) -> Self {
        match rng.below(8) {
            0 => Self::Calm,
            1 => Self::Breezy,
            2..=5 => Self::Stormy,
            _ => Self::Dark,
        }
    }
}

/// A fault that is under way: from its `after`-th call of these kinds on, `calls` of them.
#[derive(Debug, Clone, Copy)]
struct Front {
    action: Action,
    kinds: &'static [CallKind],
    after: u64,
    calls: u64,
    is_told: bool,
}

impl Front {
    fn takes(&mut self, kind: CallKind) -> bool {
        if self.calls == 0 || !(self.kinds.is_empty() || self.kinds.contains(&kind)) {
            return false;
        }
        if self.after > 0 {
            self.after -= 1;
            return false;
        }
        self.calls -= 1;
        true
    }
}

/// A machine in the middle of a call, and what had returned by then.
pub(super) type Snapshot = (SimFs, Oracle);

/// What the calls of one process meet.
#[derive(Default)]
pub(super) struct Sky {
    fronts: Vec<Front>,
    /// The call before which the machine is taken.
    take_in: Option<u64>,
    pub(super) taken: Option<Snapshot>,
    /// Faults that calls met.
    pub(super) met: u64,
    /// One of them was not told.
    pub(super) silent: bool,
}

pub(super) type SharedSky = Arc<Mutex<Sky>>;

const READS: &[CallKind] = &[CallKind::Read];
const WRITES: &[CallKind] = &[CallKind::Write];
const TRANSFERS: &[CallKind] = &[CallKind::Read, CallKind::Write];
const SYNCS: &[CallKind] = &[CallKind::SyncData, CallKind::SyncDir];
const ROOM: &[CallKind] = &[
    CallKind::Write,
    CallKind::Allocate,
    CallKind::SetLen,
    CallKind::Create,
];
const OPENS: &[CallKind] = &[CallKind::Open, CallKind::Create];

impl Sky {
    /// A fault comes up that this climate has.
    pub(super) fn worsen(&mut self, climate: Climate, rng: &mut Rng) -> String {
        let worst = match climate {
            Climate::Calm => return "calm".to_owned(),
            Climate::Breezy => 3,
            Climate::Stormy => 10,
            Climate::Dark => 15,
        };
        let n = rng.below(worst);
        let (action, kinds) = match n {
            0 => (Action::FailRaw(EINTR), TRANSFERS),
            1 => (Action::Short(1 + pick(rng, 600)), TRANSFERS),
            2 => (Action::FailRaw(EINTR), SYNCS),
            3..=4 => (Action::FailRaw(EIO), READS),
            5 => (Action::FailRaw(EIO), WRITES),
            6 => (Action::FailRaw(EIO), SYNCS),
            7 => (Action::FailRaw(ENOSPC), ROOM),
            8 => (Action::FailRaw(EMFILE), OPENS),
            9 => (Action::FailRaw(EIO), &[][..]),
            10 => (Action::Skip, WRITES),
            11 => (Action::Skip, SYNCS),
            12 => (Action::Misdirect(512 * rng.below(16)), TRANSFERS),
            13 => (Action::OtherFile, TRANSFERS),
            _ => (Action::FlipBit(pick(rng, 4096)), TRANSFERS),
        };
        let calls = match rng.below(4) {
            // An interrupted call is made again, however often.
            0 if n != 0 && n != 2 => u64::MAX,
            1 => 2 + rng.below(4),
            _ => 1,
        };
        let front = Front {
            action,
            kinds,
            after: rng.below(12),
            calls,
            is_told: n < 10,
        };
        self.fronts.push(front);
        format!("{front:?}")
    }

    pub(super) fn clear_up(&mut self) {
        self.fronts.clear();
    }

    pub(super) fn is_fair(&self) -> bool {
        self.fronts.is_empty()
    }

    /// The process ends before this call from now on, or before what it does first after the last one.
    pub(super) fn take_in(&mut self, calls: u64) {
        self.take_in = Some(calls);
    }

    fn meets(&mut self, call: &Call<'_>) -> Action {
        let front = self
            .fronts
            .iter_mut()
            .find_map(|front| front.takes(call.kind).then_some(*front));
        let Some(front) = front else {
            return Action::Pass;
        };
        self.met += 1;
        self.silent |= !front.is_told;
        front.action
    }
}

/// The plan of a process on this machine.
pub(super) fn plan(sky: &SharedSky, machine: &SimFs, journal: &Arc<Mutex<Oracle>>) -> Plan {
    let (sky, machine, journal) = (Arc::clone(sky), machine.clone(), Arc::clone(journal));
    Plan::new(move |call| {
        let mut sky = sky.lock().expect("nothing panics under it");
        if let Some(left) = sky.take_in {
            sky.take_in = left.checked_sub(1);
            if left == 0 {
                let oracle = journal.lock().expect("nothing panics under it").clone();
                sky.taken = Some((machine.process_crash(), oracle));
            }
        }
        sky.meets(call)
    })
}
