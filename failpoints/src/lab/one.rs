//! One crash state of a script, chosen by number: for fuzzers, which choose better than chance.

use super::driver::{Driver, Step};
use super::image::Seen;
use super::oracle::Crash;
use super::{CrashLab, Failure, Wrong};

/// Which crash of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// The moment: its number among the script's, counted around.
    pub moment: u64,
    /// How it is crashed.
    pub crash: Crash,
    /// After a power loss: what the disk kept.
    pub kept: Kept,
}

/// What a disk kept of the effects that were not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// Those whose bit is set, each whole.
    These(u64),
    /// What a seed says, torn ones among them.
    BySeed(u64),
}

impl<D: Driver> CrashLab<'_, D> {
    /// Plays a script, crashes it once, and looks at what is found as [`run`](Self::run) does. The script is not made
    /// shorter.
    ///
    /// # Errors
    /// What is wrong.
    pub fn run_one(&mut self, script: &[Step], choice: Choice) -> Result<(), Failure> {
        self.report.scripts += 1;
        self.try_one(script, choice).map_err(|wrong| Failure {
            script: script.to_vec(),
            at: wrong.at,
            why: wrong.why,
        })
    }

    fn try_one(&mut self, script: &[Step], choice: Choice) -> Result<(), Wrong> {
        let moments = self.play(script, 0)?;
        // The first open alone has some.
        let which = choice.moment % moments.len() as u64;
        let Some(moment) = usize::try_from(which).ok().and_then(|n| moments.get(n)) else {
            return Ok(());
        };
        self.report.moments += 1;
        self.report.images += 1;
        let image = moment.image(choice);
        let depth = self.options.depth;
        self.judge(&image, &moment.oracle, depth, &mut Seen::default())
            .map_err(|wrong| wrong.inside(moment, &image))
    }
}
