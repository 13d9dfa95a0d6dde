//! What the cache has acknowledged: per key, the states it may be found in.

use super::input::KeyId;
use super::script::Action;
use super::wire::{Message, Op};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Absent,
    /// By the operation of this number.
    Stored(u64),
}

/// The states a key may be found in; the first is the one last acknowledged.
#[derive(Debug, Clone)]
pub(super) struct Expected(Vec<State>);

impl Expected {
    pub(super) fn acknowledged(&self) -> State {
        self.0[0]
    }

    pub(super) fn allows(&self, state: State) -> bool {
        self.0.contains(&state)
    }

    /// Whether the cache owes an entry, of whatever version.
    pub(super) fn must_be_there(&self) -> bool {
        !self.allows(State::Absent)
    }

    fn allow(&mut self, state: State) {
        if !self.allows(state) {
            self.0.push(state);
        }
    }
}

#[derive(Debug)]
pub(super) struct Ledger {
    keys: Vec<Expected>,
    next_number: u64,
    /// Per worker, how far it has walked.
    positions: Vec<u64>,
}

impl Ledger {
    pub(super) fn new(keys: KeyId, workers: usize) -> Self {
        Self {
            keys: vec![Expected(vec![State::Absent]); keys as usize],
            next_number: 1,
            positions: vec![0; workers],
        }
    }

    pub(super) fn hear(&mut self, message: Message) {
        match message {
            Message::Begin(op) => self.begin(op),
            Message::Done(op) => self.keys[op.step.key as usize] = Expected(vec![outcome(op)]),
            Message::Rejected(op) => self.rejected(op),
            Message::Opened | Message::Evicted(_) | Message::Closed => {}
        }
    }

    fn begin(&mut self, op: Op) {
        self.keys[op.step.key as usize].allow(outcome(op));
        self.next_number = self.next_number.max(op.number + 1);
        let workers = self.positions.len();
        self.positions[op.step.key as usize % workers] = op.step.position;
    }

    /// The new value must not be there; whether the old one is, is the cache's choice.
    fn rejected(&mut self, op: Op) {
        let expected = &mut self.keys[op.step.key as usize];
        expected.allow(State::Absent);
        expected.0.retain(|state| *state != outcome(op));
    }

    /// What a reopened cache has said, it must say again after the next crash. So a loss counts once.
    pub(super) fn observe(&mut self, key: KeyId, state: State) {
        self.keys[key as usize] = Expected(vec![state]);
    }

    pub(super) fn expected(&self, key: KeyId) -> &Expected {
        &self.keys[key as usize]
    }

    pub(super) fn next_number(&self) -> u64 {
        self.next_number
    }

    pub(super) fn positions(&self) -> &[u64] {
        &self.positions
    }
}

fn outcome(op: Op) -> State {
    match op.step.action {
        Action::Insert => State::Stored(op.number),
        Action::Remove => State::Absent,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::demo::script::Step;

    pub(in crate::demo) fn insert(key: KeyId, number: u64) -> Op {
        Op {
            number,
            step: Step {
                key,
                action: Action::Insert,
                durable: false,
                position: number,
            },
        }
    }

    pub(in crate::demo) fn remove(key: KeyId, number: u64) -> Op {
        Op {
            number,
            step: Step {
                key,
                action: Action::Remove,
                durable: false,
                position: number,
            },
        }
    }

    /// Key 0 after these messages.
    fn after(messages: &[Message]) -> Vec<State> {
        let mut ledger = Ledger::new(1, 1);
        messages.iter().for_each(|message| ledger.hear(*message));
        ledger.expected(0).0.clone()
    }

    use Message::{Begin, Done, Rejected};
    use State::{Absent, Stored};

    #[test]
    fn an_operation_under_way_may_or_may_not_have_happened() {
        assert_eq!(after(&[]), [Absent]);
        assert_eq!(after(&[Begin(insert(0, 1))]), [Absent, Stored(1)]);
        let stored = [Begin(insert(0, 1)), Done(insert(0, 1))];
        assert_eq!(after(&stored), [Stored(1)]);
        assert_eq!(
            after(&[stored[0], stored[1], Begin(insert(0, 2))]),
            [Stored(1), Stored(2)]
        );
        assert_eq!(
            after(&[stored[0], stored[1], Begin(remove(0, 2))]),
            [Stored(1), Absent]
        );
    }

    #[test]
    fn an_acknowledged_operation_leaves_one_state() {
        let removed = [
            Begin(insert(0, 1)),
            Done(insert(0, 1)),
            Begin(remove(0, 2)),
            Done(remove(0, 2)),
        ];
        assert_eq!(after(&removed), [Absent]);
    }

    #[test]
    fn a_rejected_insert_leaves_the_old_entry_or_none() {
        let stored = [Begin(insert(0, 1)), Done(insert(0, 1))];
        assert_eq!(
            after(&[
                stored[0],
                stored[1],
                Begin(insert(0, 2)),
                Rejected(insert(0, 2))
            ]),
            [Stored(1), Absent]
        );
        assert_eq!(
            after(&[Begin(insert(0, 1)), Rejected(insert(0, 1))]),
            [Absent]
        );
    }

    #[test]
    fn the_next_life_knows_where_to_go_on() {
        let mut ledger = Ledger::new(4, 2);
        for op in [insert(2, 4), insert(1, 9), insert(3, 8)] {
            ledger.hear(Begin(op));
        }
        assert_eq!(
            (ledger.next_number(), ledger.positions()),
            (10, &[4, 8][..])
        );
    }
}
