//! What is done to the cache between two crashes.

use perennial_failpoints::lab::Step;

use crate::driver::CHECKPOINT;
use crate::random::Rng;

/// A step of a life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    /// One of the lab's.
    Do(Step),
    /// A value that a closure fills.
    Filled { key: u8, len: u16 },
    /// An entry that reclaim always keeps, or never.
    Prized { key: u8, len: u16, pinned: bool },
    /// Another capacity while it runs.
    Resize,
    /// A fault comes up.
    Worse,
    /// All are gone.
    Fair,
}

/// The keys in use.
const KEYS: u64 = 12;

pub(super) fn deed(rng: &mut Rng) -> Deed {
    let key = u8::try_from(rng.below(KEYS)).expect("few keys");
    let len = match rng.below(10) {
        0 => rng.below(5_000),
        1..=2 => 500 + rng.below(900),
        _ => rng.below(400),
    };
    let len = u16::try_from(len).expect("short values");
    match rng.below(48) {
        0..=13 => Deed::Do(Step::put(key, len)),
        14..=18 => Deed::Do(Step::put(key, len).durable()),
        19..=21 => Deed::Do(Step::remove(key)),
        22..=23 => Deed::Do(Step::remove(key).durable()),
        24..=29 => Deed::Do(Step::Get { key }),
        30..=31 => Deed::Do(Step::Flush),
        32..=33 => Deed::Do(Step::Other(CHECKPOINT)),
        34..=35 => Deed::Do(Step::Abandon { key, len }),
        36 => Deed::Do(Step::Clear),
        37 => Deed::Do(Step::RemovePrefix { key }),
        38..=39 => Deed::Do(Step::Reopen),
        40..=41 => Deed::Filled { key, len },
        42..=43 => Deed::Prized {
            key,
            len,
            pinned: rng.below(2) == 0,
        },
        44 => Deed::Resize,
        45..=46 => Deed::Worse,
        _ => Deed::Fair,
    }
}
