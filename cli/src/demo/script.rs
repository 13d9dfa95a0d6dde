//! What one worker of the child does: walks through its files over and over, and on the way overwrites and removes
//! what it has cached before.
//!
//! A key belongs to one worker, so its operations are in order and at most one of them is under way.

use super::input::KeyId;
use crate::dice::Dice;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Insert,
    Remove,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) key: KeyId,
    pub(super) action: Action,
    pub(super) durable: bool,
    /// Steps of the walk up to here; where the next life goes on.
    pub(super) position: u64,
}

#[derive(Debug)]
pub(super) struct Script {
    dice: Dice,
    worker: u64,
    workers: u64,
    /// How many keys are this worker's: `worker`, `worker + workers`, `worker + 2 * workers`, ...
    own: u64,
    position: u64,
}

impl Script {
    pub(super) fn new(seed: u64, worker: u64, workers: u64, keys: KeyId, position: u64) -> Self {
        let own = u64::from(keys).saturating_sub(worker).div_ceil(workers);
        Self {
            dice: Dice::new(seed, worker),
            worker,
            workers,
            own,
            position,
        }
    }

    /// Times the files had been walked through before this step.
    pub(super) fn pass(&self) -> u64 {
        self.position.saturating_sub(1) / self.own.max(1)
    }

    fn key(&self, index: u64) -> KeyId {
        KeyId::try_from(self.worker + index * self.workers).unwrap_or(KeyId::MAX)
    }

    fn walk(&mut self) -> KeyId {
        let key = self.key(self.position % self.own);
        self.position += 1;
        key
    }

    fn earlier(&mut self) -> KeyId {
        let index = self.dice.below(self.position.min(self.own));
        self.key(index)
    }
}

impl Iterator for Script {
    type Item = Step;

    /// Of 16 steps one removes and two overwrite; one insert in 16 and one remove in 4 is durable. A worker without
    /// keys has nothing to do.
    fn next(&mut self) -> Option<Step> {
        if self.own == 0 {
            return None;
        }
        let (key, action) = match self.dice.below(16) {
            0 if self.position > 0 => (self.earlier(), Action::Remove),
            1 | 2 if self.position > 0 => (self.earlier(), Action::Insert),
            _ => (self.walk(), Action::Insert),
        };
        let durable = match action {
            Action::Insert => self.dice.below(16) == 0,
            Action::Remove => self.dice.below(4) == 0,
        };
        Some(Step {
            key,
            action,
            durable,
            position: self.position,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_workers_share_out_all_keys() {
        let mut seen = BTreeSet::new();
        for worker in 0..4 {
            let script = Script::new(1, worker, 4, 11, 0);
            let own: BTreeSet<_> = script.take(200).map(|step| step.key).collect();
            assert!(
                own.iter()
                    .all(|key| u64::from(*key) % 4 == worker && *key < 11),
                "{own:?}"
            );
            seen.extend(own);
        }
        assert_eq!(seen, (0..11).collect());
    }

    #[test]
    fn every_kind_of_operation_occurs() {
        let steps: Vec<_> = Script::new(1, 0, 1, 100, 0).take(2_000).collect();
        for action in [Action::Insert, Action::Remove] {
            for durable in [false, true] {
                let count = steps
                    .iter()
                    .filter(|s| s.action == action && s.durable == durable)
                    .count();
                assert!(count > 10, "{action:?} durable {durable}: {count}");
            }
        }
    }

    #[test]
    fn only_what_was_walked_over_is_removed() {
        let mut walked = BTreeSet::new();
        for step in Script::new(2, 0, 1, 50, 0).take(100) {
            if step.action == Action::Insert {
                walked.insert(step.key);
            } else {
                assert!(walked.contains(&step.key), "{step:?}");
            }
        }
    }

    #[test]
    fn the_next_life_goes_on_where_the_last_one_ended() {
        let mut script = Script::new(3, 1, 2, 10, 12);
        let first = script.find(|step| step.position == 13).unwrap();
        assert_eq!((first.key, script.pass()), (1 + 2 * 2, 2));
    }

    #[test]
    fn a_worker_without_keys_rests() {
        assert_eq!(Script::new(1, 3, 4, 2, 0).next(), None);
    }
}
