//! Scripts by name: what the lab found once, and what deserves every crash state there is.

use perennial_failpoints::lab::{Keeps, Options, Step};

use crate::driver::{CHECKPOINT, FAILED_INSERT, Perennial, Undamaged, small};
use crate::{Case, effort, run_all};

const PREPARED_HEADERS: &[Step] = &[Step::put(0, 300), Step::Reopen];
const UNSYNCED_TRAILER: &[Step] = &[
    Step::put(2, 56),
    Step::put(2, 221),
    Step::remove(2),
    Step::put(4, 140),
    Step::put(5, 129),
    Step::remove(2),
    Step::put(1, 342),
    Step::put(5, 218),
    Step::remove(3),
    Step::put(1, 136).durable(),
    Step::remove(2),
    Step::put(0, 1000),
    Step::put(1, 371),
    Step::Other(FAILED_INSERT),
    Step::Reopen,
    Step::put(1, 109),
    Step::put(2, 130),
    Step::remove(2).durable(),
    Step::Reopen,
];
/// Its fourth step decides where the segment ends.
pub(crate) const TRAILER_WITHOUT_MARK: &[Step] = &[
    Step::Abandon { key: 1, len: 1440 },
    Step::Other(CHECKPOINT),
    Step::Reopen,
    Step::put(2, 1000),
    Step::put(3, 94),
    Step::put(2, 2963),
    Step::Other(CHECKPOINT),
    Step::put(2, 393),
    Step::put(0, 1000),
    Step::Flush,
    Step::put(3, 4566),
    Step::Reopen,
    Step::put(5, 173),
    Step::Flush,
    Step::Reopen,
];
const CHECKPOINTS: &[Step] = &[
    Step::put(0, 300),
    Step::put(1, 40).durable(),
    Step::put(0, 500),
    Step::Other(CHECKPOINT),
    Step::remove(1),
    Step::put(1, 1000),
    Step::Reopen,
    Step::put(0, 2000),
    Step::Flush,
    Step::Other(CHECKPOINT),
    Step::put(2, 3000),
    Step::remove(0),
];
const EXTENTS: &[Step] = &[
    Step::put(0, 100),
    Step::put(0, 4_000),
    Step::put(1, 3_000).durable(),
    Step::remove(0),
    Step::put(0, 5_000),
    Step::put(1, 50),
    Step::Flush,
    Step::put(1, 4_500),
];

/// All of them.
#[cfg(feature = "planted-bugs")]
pub(crate) const ALL: [&[Step]; 5] = [
    PREPARED_HEADERS,
    UNSYNCED_TRAILER,
    TRAILER_WITHOUT_MARK,
    CHECKPOINTS,
    EXTENTS,
];

/// Crashes one recovery in so many, too. Two deep that counts twice over: every recovery is 256 times as many states as one in
/// sixteen, and hours of them.
fn crash_one_recovery_in() -> u64 {
    match effort() {
        0..10 => 16,
        10..100 => 4,
        _ => 1,
    }
}

/// Crashes recoveries, too, two deep.
fn thoroughly(name: &str, script: &[Step]) {
    let options = Options {
        crash_one_recovery_in: crash_one_recovery_in(),
        depth: 2,
        ..Options::new(Keeps::Everything)
    };
    let case = Case {
        script: script.to_vec(),
        from: 0,
    };
    run_all(
        name,
        &Undamaged(Perennial(small(1 << 20))),
        options,
        &[case],
    );
}

/// The next life went on with segments whose headers the killed one had written and not synced; power then took the
/// headers, and what was durable in those segments with them.
#[test]
fn a_header_prepared_by_a_killed_open_is_durable_before_it_is_used() {
    thoroughly("prepared headers", PREPARED_HEADERS);
}

/// A life that went on behind a clean mark closed the full segment with a trailer and no join. Killed before the trailer
/// was synced, and without power after that, nothing said where the frames ended: all of them were forgotten.
#[test]
fn a_trailer_that_was_not_synced_loses_no_frame() {
    thoroughly("unsynced trailer", UNSYNCED_TRAILER);
}

/// A recovery killed before the sync of a trailer that took the place of a mark: the next one went on behind it, and after a
/// power loss the segment looked as if a life's frames had rotted there. Nothing was lost; everything could have been.
#[test]
fn a_trailer_that_stands_for_a_mark_is_durable_before_the_log_goes_on() {
    thoroughly("trailer without mark", TRAILER_WITHOUT_MARK);
}

/// Checkpoints between operations on the same keys, over a rotation.
#[test]
fn checkpoints_between_everything() {
    thoroughly("checkpoints", CHECKPOINTS);
}

/// Values larger than an io buffer: an extent, then the reference to it.
#[test]
fn extents_and_the_references_behind_them() {
    thoroughly("extents", EXTENTS);
}
