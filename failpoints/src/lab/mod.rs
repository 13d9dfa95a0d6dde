//! [`CrashLab`]: plays scripts on a store, crashes it at every point, and asks an oracle what it shows afterwards.
//!
//! ```text
//!   script ── before every call that changes something, and after every step ──► moments
//!   moment ── killed | every subset of what was not synced | torn, by seed ──► images
//!   image  ── open ─► check ─► killed, open again ─► the same ─► more steps ─► killed | power lost ─► check
//!                └── crashed itself, at every call, to a given depth
//! ```
//!
//! The idea of trying what a disk may have kept is that of ALICE (Pillai et al., 2014) and CrashMonkey (Mohan et al., 2018).

mod driver;
mod image;
mod life;
mod one;
mod oracle;
mod shrink;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod toy;
mod value;

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

pub use driver::{Driver, Step, Store, key};
pub use image::Breadth;
pub use one::{Choice, Kept};
pub use oracle::{Crash, Keeps, Oracle};
pub use value::{Op, VALUE_BYTES_MIN, identify, value};

use crate::fs::sim_fs::SimFs;
use image::{Image, Moment, Moments, Seen, take, watched};
use life::{Journal, Life};

/// How far the lab goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Whether entries may be gone.
    pub keeps: Keeps,
    /// Which machines of a moment are looked at.
    pub breadth: Breadth,
    /// How often a recovery is itself crashed, one within the other. Default 1.
    pub depth: u32,
    /// Of the recoveries, one in so many is crashed itself. Default 64; 0 = none.
    pub crash_one_recovery_in: u64,
    /// The seed of the first machine.
    pub seed: u64,
    /// Leaves steps out of a script that fails as long as it still fails. Default true.
    pub shrinks: bool,
    /// Crashes only what lies inside a [`Span`](crate::Span). Default false.
    pub only_inside: bool,
}

impl Options {
    /// The defaults, for a store or a cache.
    #[must_use]
    pub fn new(keeps: Keeps) -> Self {
        Self {
            keeps,
            breadth: Breadth::default(),
            depth: 1,
            crash_one_recovery_in: 64,
            seed: 1,
            shrinks: true,
            only_inside: false,
        }
    }
}

/// What was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Report {
    /// Scripts played.
    pub scripts: u64,
    /// Moments at which they were crashed.
    pub moments: u64,
    /// Machines looked at.
    pub images: u64,
    /// Of these, such as no other of the same script was, by everything on their disks and all that had returned.
    pub distinct: u64,
    /// Of these, such as a crash inside a [`Span`](crate::Span) left.
    pub inside: u64,
    /// Opens.
    pub opens: u64,
}

/// A script that fails, as short as the lab could make it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The steps.
    pub script: Vec<Step>,
    /// Where it was crashed, and what the crash left.
    pub at: String,
    /// What is wrong then.
    pub why: String,
}

/// Crashes a store of a [`Driver`] in every way it knows.
#[derive(Debug)]
pub struct CrashLab<'a, D> {
    driver: &'a D,
    options: Options,
    report: Report,
}

/// A failure before its script is made short.
struct Wrong {
    at: String,
    why: String,
}

impl<'a, D: Driver> CrashLab<'a, D> {
    /// A lab for the stores of `driver`.
    #[must_use]
    pub fn new(driver: &'a D, options: Options) -> Self {
        Self {
            driver,
            options,
            report: Report::default(),
        }
    }

    /// What was tried so far.
    #[must_use]
    pub const fn report(&self) -> Report {
        self.report
    }

    /// Plays a script and crashes it everywhere.
    ///
    /// # Errors
    /// The first failure, of the shortest script that the lab found to fail too.
    pub fn run(&mut self, script: &[Step]) -> Result<(), Failure> {
        self.run_from(script, 0)
    }

    /// The same, but only crashes it from step `first` on: who tries all scripts has crashed their beginnings before.
    /// The first open counts as a part of step 0.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_from(&mut self, script: &[Step], first: usize) -> Result<(), Failure> {
        self.report.scripts += 1;
        let Err(wrong) = self.try_script(script, first) else {
            return Ok(());
        };
        let shrinks = self.options.shrinks;
        Err(shrink::shrink(script, wrong, |shorter| {
            shrinks.then(|| self.try_script(shorter, 0).err()).flatten()
        }))
    }

    fn try_script(&mut self, script: &[Step], first: usize) -> Result<(), Wrong> {
        let mut moments = self.play(script, first)?;
        if self.options.only_inside {
            moments.retain(|moment| moment.inside);
        }
        self.report.moments += moments.len() as u64;
        let mut seen = Seen::default();
        let depth = self.options.depth;
        let judged = moments
            .iter()
            .try_for_each(|moment| self.judge_moment(moment, depth, &mut seen));
        self.report.distinct += seen.len();
        judged
    }

    /// The moments of a script on a new machine, from step `first` on.
    fn play(&mut self, script: &[Step], first: usize) -> Result<Vec<Moment>, Wrong> {
        let machine = SimFs::new(self.options.seed);
        let journal = Arc::new(Mutex::new(Oracle::new(self.options.keeps)));
        let moments = Moments::default();
        let wrong = |at: &dyn fmt::Display| {
            let at = format!("{at}, without a crash");
            move |why| Wrong { at, why }
        };
        let fs = Arc::new(watched(&machine, &journal, &moments));
        self.report.opens += 1;
        let mut life = Life::begin(self.driver, fs, Arc::clone(&journal), 0)
            .map_err(wrong(&"the first open"))?;
        for (n, step) in script.iter().enumerate() {
            if n > 0 && n == first {
                moments.lock().clear();
            }
            life.play(step).map_err(wrong(&format!("step {n}")))?;
            take(
                &machine,
                &journal,
                &moments,
                format!("after step {n}, {step:?}"),
            );
        }
        life.check(None).map_err(wrong(&"the end"))?;
        let moments = std::mem::take(&mut *moments.lock());
        Ok(moments)
    }

    fn judge_moment(&mut self, moment: &Moment, depth: u32, seen: &mut Seen) -> Result<(), Wrong> {
        let oracle = moment.oracle.digest();
        for image in moment.images(self.options.breadth) {
            self.report.images += 1;
            if seen.first_time(&image, oracle) {
                self.report.inside += u64::from(moment.inside);
                self.judge(&image, &moment.oracle, depth, seen)
                    .map_err(|wrong| wrong.inside(moment, &image))?;
            }
        }
        Ok(())
    }

    /// Opens the store that a crash left.
    fn judge(
        &mut self,
        image: &Image,
        oracle: &Oracle,
        depth: u32,
        seen: &mut Seen,
    ) -> Result<(), Wrong> {
        if depth > 0 && self.is_chosen(image) {
            self.crash_the_recovery(image, oracle, depth - 1, seen)?;
        }
        let journal: Journal = Arc::new(Mutex::new(oracle.clone()));
        let (shown, machine) = self.look(&image.machine, &journal, image.crash, "the recovery")?;
        // What the first recovery wrote must say the same to the second.
        let at = "a second recovery";
        let (again, machine) = self.look(&machine, &journal, Crash::Kill, at)?;
        if let Some(why) = difference(&shown, &again, self.options.keeps) {
            let at = at.to_owned();
            return Err(Wrong { at, why });
        }
        self.live_on(&machine, &journal, next_crash(image, oracle))
    }

    /// By chance, but the same for the same image.
    fn is_chosen(&self, image: &Image) -> bool {
        let one_in = self.options.crash_one_recovery_in;
        one_in != 0 && (image.digest >> 7).is_multiple_of(one_in)
    }

    /// What a recovery of `machine` shows, and the machine as it left it.
    fn look(
        &mut self,
        machine: &SimFs,
        journal: &Journal,
        crash: Crash,
        at: &str,
    ) -> Result<(life::Map, SimFs), Wrong> {
        self.report.opens += 1;
        let machine = machine.process_crash();
        let fs = Arc::new(machine.clone());
        let wrong = |why| Wrong {
            at: at.to_owned(),
            why,
        };
        let life = Life::begin(self.driver, fs, Arc::clone(journal), 0).map_err(wrong)?;
        let shown = life.check(Some(crash)).map_err(wrong)?;
        // Before the store's destructor, which a killed process does not run.
        let left = machine.process_crash();
        machine.halt();
        Ok((shown, left))
    }

    /// After a recovery new operations must survive the next crash.
    fn live_on(&mut self, machine: &SimFs, journal: &Journal, next: Crash) -> Result<(), Wrong> {
        let wrong = |why| Wrong {
            at: "the life after the recovery".to_owned(),
            why,
        };
        let machine = machine.process_crash();
        self.report.opens += 1;
        let fs = Arc::new(machine.clone());
        let mut life =
            Life::begin(self.driver, fs, Arc::clone(journal), FRESH_OPS).map_err(wrong)?;
        for step in &LIFE_GOES_ON {
            life.play(step).map_err(wrong)?;
        }
        // Before the store's destructor, as everywhere.
        let after = match next {
            Crash::Kill => machine.process_crash(),
            Crash::Power => machine.power_loss(life.next_op()),
        };
        machine.halt();
        drop(life);
        self.look(&after, journal, next, "the crash after that")?;
        Ok(())
    }

    /// Crashes the recovery of `image` before every call that changes something.
    fn crash_the_recovery(
        &mut self,
        image: &Image,
        oracle: &Oracle,
        depth: u32,
        seen: &mut Seen,
    ) -> Result<(), Wrong> {
        let machine = image.machine.process_crash();
        let mut oracle = oracle.clone();
        if image.crash == Crash::Power {
            oracle.power_was_lost();
        }
        let journal: Journal = Arc::new(Mutex::new(oracle));
        let moments = Moments::default();
        let fs = Arc::new(watched(&machine, &journal, &moments));
        self.report.opens += 1;
        let opened = Life::begin(self.driver, fs, Arc::clone(&journal), 0);
        drop(opened.map_err(|why| Wrong {
            at: "the recovery".to_owned(),
            why,
        })?);
        let moments = std::mem::take(&mut *moments.lock());
        let few = Breadth {
            exhaustive_up_to: 4,
            sampled: 3,
        };
        let all = std::mem::replace(&mut self.options.breadth, few);
        let judged = moments
            .iter()
            .try_for_each(|moment| self.judge_moment(moment, depth, seen));
        self.options.breadth = all;
        judged
    }
}

/// Operations after a recovery have numbers above all of a script's.
const FRESH_OPS: u64 = 1_000_000;

/// Five operations after a recovery.
const LIFE_GOES_ON: [Step; 5] = [
    Step::put(0, 100),
    Step::put(1, 40).durable(),
    Step::remove(0),
    Step::put(2, 300).durable(),
    Step::put(1, 60),
];

/// How the life after a recovery ends: by chance, but the same for the same image. Not by a kill where nothing was asked of
/// the store before: every script begins like that, and one that fails should say at what.
fn next_crash(image: &Image, oracle: &Oracle) -> Crash {
    let asked = !oracle.known_keys().is_empty();
    if asked && image.digest & 1 == 0 {
        Crash::Kill
    } else {
        Crash::Power
    }
}

/// How two looks at the same disk differ. A cache may have evicted between them.
fn difference(one: &life::Map, other: &life::Map, keeps: Keeps) -> Option<String> {
    let mut pairs = one.iter().zip(other);
    let ((key, one), (_, other)) = pairs.find(|((_, one), (_, other))| {
        let evicted = keeps == Keeps::WhatItLikes && (one.is_none() || other.is_none());
        one != other && !evicted
    })?;
    let name = String::from_utf8_lossy(key);
    let op = |found: &Option<Vec<u8>>| found.as_deref().map(|bytes| identify(key, bytes));
    Some(format!(
        "{name}: {:?} at first, then {:?}",
        op(one),
        op(other)
    ))
}

impl Wrong {
    fn inside(self, moment: &Moment, image: &Image) -> Self {
        Self {
            at: format!("{}, {}: {}", moment.at, image.which, self.at),
            why: self.why,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.why)?;
        writeln!(f, "  {}", self.at)?;
        self.script
            .iter()
            .enumerate()
            .try_for_each(|(n, step)| writeln!(f, "  step {n}: {step:?}"))
    }
}

impl std::error::Error for Failure {}

impl std::ops::AddAssign for Report {
    fn add_assign(&mut self, other: Self) {
        self.scripts += other.scripts;
        self.moments += other.moments;
        self.images += other.images;
        self.distinct += other.distinct;
        self.inside += other.inside;
        self.opens += other.opens;
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            scripts,
            moments,
            images,
            distinct,
            inside,
            opens,
        } = self;
        write!(f, "{distinct} distinct crash states of {images}")?;
        if *inside > 0 {
            write!(f, ", {inside} of them inside a merge or a resize")?;
        }
        write!(
            f,
            ", from {moments} moments of {scripts} scripts; {opens} opens"
        )
    }
}
