//! Which caches are compared: every trace at every size, and who competes in each.

use std::path::PathBuf;

use crate::args::{Mode, PolicyName, Replay, Switch, Tuning};
use crate::failure::Failure;
use crate::trace::{self, Request};

/// Sizes of the caches, in per cent of the bytes of all keys.
const SIZES: [u64; 4] = [1, 5, 10, 25];
/// Caches that hold fewer entries say nothing.
const LEAST_ENTRIES: u64 = 128;

/// One column: a policy and its settings.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    policy: PolicyName,
    promote: u8,
    duel: Switch,
}

pub(crate) const FIFO: usize = 0;
pub(crate) const LRU: usize = 1;
/// What a cache does that is told nothing.
pub(crate) const DEFAULT: usize = 5;
pub(crate) const CONTENDERS: [Contender; 7] = [
    contender("fifo", PolicyName::Fifo, 1, Switch::Off),
    contender("exact lru", PolicyName::Lru, 1, Switch::Off),
    contender("clock", PolicyName::Clock, 1, Switch::Off),
    contender("s3-merge", PolicyName::S3Merge, 1, Switch::Off),
    contender("s3-merge, promote 2", PolicyName::S3Merge, 2, Switch::Off),
    contender("s3-merge, duel", PolicyName::S3Merge, 1, Switch::On),
    contender(
        "s3-merge, promote 2, duel",
        PolicyName::S3Merge,
        2,
        Switch::On,
    ),
];

const fn contender(name: &'static str, policy: PolicyName, promote: u8, duel: Switch) -> Contender {
    Contender {
        name,
        policy,
        promote,
        duel,
    }
}

/// One trace at one size.
pub(crate) struct Size<'a> {
    pub(crate) path: &'a PathBuf,
    pub(crate) trace: &'a [Request],
    pub(crate) percent: u64,
    pub(crate) capacity: u64,
}

impl Size<'_> {
    pub(crate) fn name(&self) -> String {
        trace::name(self.path)
    }

    /// The replay of a contender.
    pub(crate) fn replay(&self, contender: &Contender, mode: Mode, tuning: Tuning) -> Replay {
        Replay {
            trace: self.path.clone(),
            capacity: self.capacity,
            policy: contender.policy,
            promote: contender.promote,
            duel: contender.duel,
            segments: None,
            segment_bytes: None,
            mode,
            json: false,
            tuning,
        }
    }
}

/// Gives each cell of these traces to `play`, trace by trace, the smallest cache first.
pub(crate) fn each(
    traces: &[PathBuf],
    mut play: impl FnMut(&Size<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    for path in traces {
        let trace = trace::read(path)?;
        let (keys, footprint) = trace::footprint(&trace);
        for percent in SIZES {
            if keys * percent / 100 >= LEAST_ENTRIES {
                play(&Size {
                    path,
                    trace: &trace,
                    percent,
                    capacity: footprint * percent / 100,
                })?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Args, Command};

    #[test]
    fn the_default_is_what_a_replay_does_that_is_told_nothing() {
        let line = "perennial-bench replay t.bin --capacity 1000 --policy s3-merge";
        let Command::Replay(told) = Args::try_parse_from(line.split(' ')).unwrap().command else {
            panic!("not a replay");
        };
        let default = &CONTENDERS[DEFAULT];
        assert_eq!(default.policy, told.policy);
        assert_eq!((default.promote, default.duel), (told.promote, told.duel));
        assert_eq!(CONTENDERS[FIFO].policy, PolicyName::Fifo);
        assert_eq!(CONTENDERS[LRU].policy, PolicyName::Lru);
    }

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "traces are files outside of any cache"
    )]
    fn sizes_of_too_few_entries_are_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.bin");
        let record = |key: u64| [key.to_le_bytes(), (100_u64).to_le_bytes()].concat();
        std::fs::write(&path, (0..1300).flat_map(record).collect::<Vec<_>>()).unwrap();
        let mut seen = Vec::new();
        each(&[path], |size| {
            seen.push((size.percent, size.capacity));
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, [(10, 13_000), (25, 32_500)]);
    }
}
