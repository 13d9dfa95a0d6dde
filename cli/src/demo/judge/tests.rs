//! A judge is worth what it finds: every way a cache can lie is tried on it.
#![expect(
    clippy::disallowed_methods,
    reason = "changes the files the demo caches"
)]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::convert::Infallible;

use quickcheck::quickcheck;

use super::*;
use crate::demo::input::tests::tree;
use crate::demo::ledger::tests::{insert, remove};
use crate::demo::stamp::Stamp;
use crate::demo::wire::{Message, Op};

/// A cache in memory that a test can spoil, and what it has acknowledged.
struct Lab {
    input: Input,
    ledger: Ledger,
    cache: BTreeMap<Vec<u8>, Vec<u8>>,
    dir: tempfile::TempDir,
}

impl Lab {
    /// Every key is inserted once: key 0 by operation 1, key 1 by operation 2, ...
    fn new() -> Self {
        let dir = tree();
        let input = Input::gather(dir.path(), u64::MAX).unwrap();
        let ledger = Ledger::new(input.keys(), 1);
        let mut lab = Self {
            input,
            ledger,
            cache: BTreeMap::new(),
            dir,
        };
        for key in 0..lab.input.keys() {
            lab.done(insert(key, u64::from(key) + 1));
        }
        lab
    }

    fn value(&self, op: Op) -> Vec<u8> {
        let mut value = Vec::new();
        let mut files = self.input.reader();
        let stamp = Stamp {
            pass: 0,
            op: op.number,
        };
        stamp::write(
            &mut value,
            &self.input.key(op.step.key),
            stamp,
            files.read(op.step.key).unwrap(),
        );
        value
    }

    fn acknowledge(&mut self, op: Op) {
        self.ledger.hear(Message::Begin(op));
        self.ledger.hear(Message::Done(op));
    }

    fn apply(&mut self, op: Op) {
        let key = self.input.key(op.step.key);
        if op.step.action == crate::demo::script::Action::Remove {
            self.cache.remove(&key);
        } else {
            let value = self.value(op);
            self.cache.insert(key, value);
        }
    }

    fn done(&mut self, op: Op) {
        self.acknowledge(op);
        self.apply(op);
    }

    fn compare(&mut self) -> Tally {
        let cache = &self.cache;
        let get = |key: &[u8]| Ok::<_, Infallible>(cache.get(key).map(Vec::as_slice));
        let Ok(tally) = compare(&self.input, &mut self.ledger, get);
        tally
    }
}

const ALL: Tally = Tally {
    acked: 6,
    found: 6,
    lost: 0,
    stale: 0,
    wrong: 0,
    resurrected: 0,
};

const ONE_WRONG: Tally = Tally {
    found: 5,
    wrong: 1,
    ..ALL
};

#[test]
fn an_honest_cache_is_clean() {
    let mut lab = Lab::new();
    assert_eq!(lab.compare(), ALL);
    assert_eq!(lab.compare(), ALL);
    lab.done(remove(3, 10));
    lab.done(insert(2, 11));
    assert_eq!(
        lab.compare(),
        Tally {
            acked: 5,
            found: 5,
            ..ALL
        }
    );
    assert!(lab.compare().is_clean());
}

#[test]
fn a_cache_that_forgets_has_lost() {
    let mut lab = Lab::new();
    lab.cache.remove(&lab.input.key(4));
    let tally = lab.compare();
    assert_eq!(
        tally,
        Tally {
            found: 5,
            lost: 1,
            ..ALL
        }
    );
    assert!(!tally.is_clean());
    assert_eq!(
        lab.compare(),
        Tally {
            acked: 5,
            found: 5,
            ..ALL
        },
        "a loss counts once"
    );
}

#[test]
fn a_cache_that_answers_with_an_older_version_is_stale() {
    let mut lab = Lab::new();
    lab.acknowledge(insert(4, 10));
    let tally = lab.compare();
    assert_eq!(
        tally,
        Tally {
            found: 5,
            stale: 1,
            ..ALL
        }
    );
    assert!(!tally.is_clean());
}

#[test]
fn a_cache_that_answers_with_other_bytes_is_wrong() {
    let spoil: [fn(&mut Lab); 5] = [
        |lab| lab.cache.get_mut(&lab.input.key(4)).unwrap()[100] ^= 1,
        |lab| {
            lab.cache
                .get_mut(&lab.input.key(4))
                .unwrap()
                .truncate(60_000)
        },
        |lab| drop(lab.cache.insert(lab.input.key(4), Vec::new())),
        |lab| {
            let other = lab.cache[&lab.input.key(5)].clone();
            lab.cache.insert(lab.input.key(4), other);
        },
        // A stamp that is sound over bytes that are not the file's.
        |lab| {
            let (key, mut value) = (lab.input.key(4), Vec::new());
            stamp::write(
                &mut value,
                &key,
                Stamp { pass: 0, op: 5 },
                b"not the file's",
            );
            lab.cache.insert(key, value);
        },
    ];
    for (case, spoil) in spoil.iter().enumerate() {
        let mut lab = Lab::new();
        spoil(&mut lab);
        let tally = lab.compare();
        assert_eq!(
            tally,
            Tally {
                found: 5,
                wrong: 1,
                ..ALL
            },
            "case {case}"
        );
        assert!(!tally.is_clean());
    }
}

#[test]
fn a_version_nobody_wrote_is_wrong() {
    let mut lab = Lab::new();
    lab.apply(insert(4, 99));
    assert_eq!(lab.compare(), ONE_WRONG);
}

#[test]
fn a_cache_that_brings_back_what_was_removed_has_resurrected() {
    let mut lab = Lab::new();
    lab.acknowledge(remove(4, 10));
    let tally = lab.compare();
    assert_eq!(
        tally,
        Tally {
            acked: 5,
            found: 5,
            resurrected: 1,
            ..ALL
        }
    );
    assert!(!tally.is_clean());
}

#[test]
fn an_older_version_than_the_removed_one_has_resurrected_too() {
    let mut lab = Lab::new();
    lab.acknowledge(insert(4, 10));
    lab.acknowledge(remove(4, 11));
    lab.ledger.hear(Message::Begin(insert(4, 12)));
    assert_eq!(
        lab.compare(),
        Tally {
            acked: 5,
            found: 5,
            resurrected: 1,
            ..ALL
        }
    );
}

#[test]
fn either_is_right_while_an_operation_is_under_way() {
    for happened in [false, true] {
        for (op, acked) in [(insert(4, 10), 6), (remove(4, 10), 5)] {
            let mut lab = Lab::new();
            lab.ledger.hear(Message::Begin(op));
            if happened {
                lab.apply(op);
            }
            assert_eq!(
                lab.compare(),
                Tally {
                    acked,
                    found: acked,
                    ..ALL
                },
                "{op:?} {happened}"
            );
        }
    }
}

#[test]
fn a_reopened_cache_must_stay_with_its_answer() {
    let mut lab = Lab::new();
    lab.ledger.hear(Message::Begin(insert(4, 10)));
    lab.apply(insert(4, 10));
    assert!(lab.compare().is_clean());
    lab.apply(insert(4, 5));
    assert_eq!(
        lab.compare(),
        Tally {
            found: 5,
            stale: 1,
            ..ALL
        }
    );
}

#[test]
fn an_entry_of_a_file_that_has_changed_is_still_judged() {
    let mut lab = Lab::new();
    std::fs::write(lab.dir.path().join("sub/exact"), b"changed").unwrap();
    assert_eq!(lab.compare(), ALL);
    lab.cache.get_mut(&lab.input.key(2)).unwrap()[40] ^= 1;
    assert_eq!(lab.compare(), ONE_WRONG);
}

#[test]
fn every_key_is_asked_for() {
    let mut lab = Lab::new();
    lab.done(remove(0, 10));
    let asked = Cell::new(0);
    let get = |_: &[u8]| {
        asked.set(asked.get() + 1);
        Ok::<Option<Vec<u8>>, Infallible>(None)
    };
    let Ok(tally) = compare(&lab.input, &mut lab.ledger, get);
    assert_eq!((asked.get(), tally.lost), (6, 5));
}

quickcheck! {
    /// Random operations, each with a random share of its acknowledgement and effect: an honest cache is never accused.
    fn an_honest_cache_is_never_accused(ops: Vec<(u8, bool, Option<bool>)>) -> bool {
        let mut lab = Lab::new();
        for (number, (key, is_insert, cut)) in (100..).zip(ops) {
            let key = KeyId::from(key) % lab.input.keys();
            let op = if is_insert { insert(key, number) } else { remove(key, number) };
            match cut {
                None => lab.done(op),
                Some(happened) => {
                    lab.ledger.hear(Message::Begin(op));
                    if happened {
                        lab.apply(op);
                    }
                    // The child died, and the cache is reopened.
                    if !lab.compare().is_clean() {
                        return false;
                    }
                }
            }
        }
        let tally = lab.compare();
        tally.is_clean() && tally.acked == tally.found
    }
}
