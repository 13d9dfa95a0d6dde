//! The machines that a crash may leave, at every point of a script.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;

use super::life::Journal;
use super::one::{Choice, Kept};
use super::oracle::{Crash, Oracle};
use crate::fs::sim_fs::SimFs;
use crate::plan::{Action, Call, CallKind, FaultFs, Plan};
use crate::span::Span;

/// The machine at one moment of a script, and what had returned by then.
#[derive(Debug, Clone)]
pub(super) struct Moment {
    pub(super) machine: SimFs,
    pub(super) oracle: Oracle,
    /// The call that was about to be made, or the step that had returned.
    pub(super) at: String,
    /// The call was made in the middle of a [`Span`].
    pub(super) inside: bool,
}

/// Collects moments.
pub(super) type Moments = Arc<Mutex<Vec<Moment>>>;

/// `machine`, a moment of which is taken before every call that changes what a crash may leave.
pub(super) fn watched(machine: &SimFs, journal: &Journal, moments: &Moments) -> FaultFs {
    let (watched, journal, moments) = (machine.clone(), journal.clone(), moments.clone());
    let plan = Plan::new(move |call| {
        if changes(call.kind) {
            take(&watched, &journal, &moments, describe(call));
        }
        Action::Pass
    });
    FaultFs::new(Arc::new(machine.clone()), plan)
}

pub(super) fn take(machine: &SimFs, journal: &Journal, moments: &Moments, at: String) {
    let moment = Moment {
        machine: machine.process_crash(),
        oracle: journal.lock().clone(),
        at,
        inside: Span::is_inside(),
    };
    moments.lock().push(moment);
}

fn changes(kind: CallKind) -> bool {
    matches!(
        kind,
        CallKind::Create
            | CallKind::Rename
            | CallKind::Remove
            | CallKind::SyncDir
            | CallKind::TryLock
            | CallKind::Write
            | CallKind::SetLen
            | CallKind::Allocate
            | CallKind::SyncData
    )
}

fn describe(call: &Call<'_>) -> String {
    let Call { n, kind, name, .. } = call;
    format!("before call {n}, {kind:?} of {name}")
}

/// Which machines of a moment are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breadth {
    /// With at most so many effects pending, every subset of them is tried. Range: 0 to 16; default 12.
    pub exhaustive_up_to: u32,
    /// Of every moment so many more machines, torn ones among them, by seed. Default 16.
    pub sampled: u64,
}

impl Default for Breadth {
    fn default() -> Self {
        Self {
            exhaustive_up_to: 12,
            sampled: 16,
        }
    }
}

/// A machine after a crash.
pub(super) struct Image {
    pub(super) machine: SimFs,
    pub(super) crash: Crash,
    /// Which of the moment's machines it is.
    pub(super) which: String,
    /// The machine's.
    pub(super) digest: u64,
}

impl Image {
    fn new(machine: SimFs, crash: Crash, which: String) -> Self {
        Self {
            digest: machine.digest(),
            machine,
            crash,
            which,
        }
    }
}

impl Moment {
    /// Every machine that is looked at.
    pub(super) fn images(&self, breadth: Breadth) -> impl Iterator<Item = Image> + '_ {
        let pending = self.machine.pending_effects();
        let all = u32::try_from(pending)
            .ok()
            .filter(|n| *n <= breadth.exhaustive_up_to);
        let kill = std::iter::once_with(|| {
            let machine = self.machine.process_crash();
            Image::new(machine, Crash::Kill, "killed".to_owned())
        });
        let lost =
            |machine, which| Image::new(machine, Crash::Power, format!("power lost, {which}"));
        let subsets = all.into_iter().flat_map(|n| 0..1_u64 << n);
        let subsets = subsets.map(move |kept| {
            let machine = self.machine.power_loss_keeping(kept);
            lost(machine, format!("kept effects {kept:#b}"))
        });
        let sampled = (0..breadth.sampled)
            .map(move |seed| lost(self.machine.power_loss(seed), format!("seed {seed}")));
        kill.chain(subsets).chain(sampled)
    }

    /// The one machine that was chosen.
    pub(super) fn image(&self, choice: Choice) -> Image {
        let Choice { crash, kept, .. } = choice;
        let machine = match (crash, kept) {
            (Crash::Kill, _) => self.machine.process_crash(),
            (Crash::Power, Kept::These(bits)) => self.machine.power_loss_keeping(bits),
            (Crash::Power, Kept::BySeed(seed)) => self.machine.power_loss(seed),
        };
        let which = format!("{crash:?}, {kept:x?}");
        Image::new(machine, crash, which)
    }
}

/// The states seen so far, by a number of 64 bits for image and oracle.
#[derive(Debug, Default)]
pub(super) struct Seen(HashSet<u64>);

impl Seen {
    /// True the first time.
    pub(super) fn first_time(&mut self, image: &Image, oracle: u64) -> bool {
        let crash = u64::from(image.crash == Crash::Kill);
        let state = image.digest ^ oracle.rotate_left(17) ^ crash.rotate_left(40);
        self.0.insert(state)
    }

    pub(super) fn len(&self) -> u64 {
        self.0.len() as u64
    }
}
