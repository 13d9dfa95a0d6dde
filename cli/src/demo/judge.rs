//! Is this answer right? And all answers of a cache together.

use std::ops::Deref;

use super::input::{Input, KeyId};
use super::ledger::{Expected, Ledger, State};
use super::stamp;

/// What the cache said about a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Absent,
    /// The file's bytes with the stamp of the operation of this number.
    Stored(u64),
    /// Bytes that nobody put there.
    Foreign,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Right,
    /// Acknowledged, and absent.
    Lost,
    /// Older than what was acknowledged.
    Stale,
    /// Not the file's bytes, or with a stamp no operation on this key had.
    Wrong,
    /// Removed, and there again.
    Resurrected,
}

pub(super) fn judge(expected: &Expected, answer: Answer) -> Verdict {
    match answer {
        Answer::Absent if expected.allows(State::Absent) => Verdict::Right,
        Answer::Absent => Verdict::Lost,
        Answer::Foreign => Verdict::Wrong,
        Answer::Stored(op) if expected.allows(State::Stored(op)) => Verdict::Right,
        Answer::Stored(op) => match expected.acknowledged() {
            State::Absent => Verdict::Resurrected,
            State::Stored(newest) if op < newest => Verdict::Stale,
            State::Stored(_) => Verdict::Wrong,
        },
    }
}

/// `acked` counts the entries that had to be there; of them, `found` were there and right.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) acked: u64,
    pub(super) found: u64,
    pub(super) lost: u64,
    pub(super) stale: u64,
    pub(super) wrong: u64,
    pub(super) resurrected: u64,
}

impl Tally {
    fn count(&mut self, expected: &Expected, verdict: Verdict) {
        let due = u64::from(expected.must_be_there());
        self.acked += due;
        match verdict {
            Verdict::Right => self.found += due,
            Verdict::Lost => self.lost += 1,
            Verdict::Stale => self.stale += 1,
            Verdict::Wrong => self.wrong += 1,
            Verdict::Resurrected => self.resurrected += 1,
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.acked += other.acked;
        self.found += other.found;
        self.lost += other.lost;
        self.stale += other.stale;
        self.wrong += other.wrong;
        self.resurrected += other.resurrected;
    }

    pub(super) fn is_clean(&self) -> bool {
        self.lost + self.stale + self.wrong + self.resurrected == 0
    }
}

/// Asks for every key, removed and never written ones, too. What the cache says becomes what it must say from now on.
pub(super) fn compare<V: Deref<Target = [u8]>, E>(
    input: &Input,
    ledger: &mut Ledger,
    get: impl Fn(&[u8]) -> Result<Option<V>, E>,
) -> Result<Tally, E> {
    let mut tally = Tally::default();
    let mut files = input.reader();
    for id in 0..input.keys() {
        let key = input.key(id);
        let answer = match get(&key)? {
            None => Answer::Absent,
            Some(value) => answer_of(input, files.read(id), id, &key, &value),
        };
        let expected = ledger.expected(id);
        let verdict = judge(expected, answer);
        if verdict != Verdict::Right {
            let key = String::from_utf8_lossy(&key);
            tracing::error!(%key, ?verdict, ?answer, ?expected, "the cache's answer is not right");
        }
        tally.count(expected, verdict);
        match answer {
            Answer::Absent => ledger.observe(id, State::Absent),
            Answer::Stored(op) => ledger.observe(id, State::Stored(op)),
            Answer::Foreign => {}
        }
    }
    Ok(tally)
}

/// Byte by byte with the file; with the hash it had, if it has changed since.
fn answer_of(input: &Input, file: Option<&[u8]>, id: KeyId, key: &[u8], value: &[u8]) -> Answer {
    match (stamp::read(key, value), file) {
        (Some((stamp, block)), Some(file)) if block == file => Answer::Stored(stamp.op),
        (Some((stamp, block)), None) if input.has_content(id, block) => Answer::Stored(stamp.op),
        _ => Answer::Foreign,
    }
}

#[cfg(test)]
mod tests;
