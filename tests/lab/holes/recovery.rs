//! Holes 10 to 16: where the log ends and how it goes on, what is a hole and what is damage, the tail of an earlier life.

use perennial_failpoints::lab::{Breadth, Keeps, Options, Step};

use super::tricks::{BEGIN_SLOW, END_SLOW, ROT, ROT_TAIL, TARGET, Tricks};
use super::{crashed, crashed_with_its_recoveries, hunts, run, run_as};
use crate::driver::{CHECKPOINT, Perennial, Undamaged, small};
use crate::effort;

/// Frames of one size: those of a life cut short lie where those of the next one end.
#[test]
pub(crate) fn hole_10_frames_of_a_life_cut_short_follow_no_other() -> Result<(), String> {
    let driver = Perennial(small(1 << 20));
    let script = [
        Step::put(0, 100),
        Step::put(1, 40).durable(),
        Step::put(0, 100),
        Step::put(2, 300),
        Step::Reopen,
        Step::put(1, 60),
        Step::remove(0),
        Step::put(0, 100),
    ];
    crashed("hole 10", &driver, Keeps::Everything, &script)?;
    // A cut that gives up segments which were only prepared.
    let script = [
        Step::Abandon { key: 1, len: 1_440 },
        Step::Other(CHECKPOINT),
        Step::Reopen,
        Step::put(2, 4_628),
        Step::Reopen,
        Step::put(5, 173),
        Step::Reopen,
    ];
    crashed("hole 10, segments", &driver, Keeps::Everything, &script)?;
    // A recovery after a power loss is killed between the cut and the next segment: what was cut must not follow again.
    let script = [
        Step::Reopen,
        Step::put(0, 249).durable(),
        Step::Reopen,
        Step::put(3, 1_000),
        Step::put(2, 148).durable(),
        Step::put(0, 1_517),
    ];
    let last = script.len() - 1;
    run(
        "hole 10, a recovery cut short",
        &driver,
        Keeps::Everything,
        1,
        (&script, last),
    )
}

/// Behind an entry that somebody is still copying others have returned. No later life takes the hole for damage.
#[test]
pub(crate) fn hole_11_a_hole_never_becomes_damage() -> Result<(), String> {
    let driver = Tricks::on(small(1 << 20).tail_bytes(16 << 10));
    let script = [
        Step::put(0, 100).durable(),
        Step::Other(BEGIN_SLOW),
        Step::put(1, 100),
        Step::put(0, 60),
        Step::remove(1),
        Step::put(2, 2_500),
        Step::Other(END_SLOW),
        Step::Flush,
    ];
    crashed_with_its_recoveries("hole 11", &driver, &script)?;
    let script = [Step::put(0, 100).durable(), Step::remove(1).durable()];
    let driver = Perennial(small(1 << 20));
    crashed_with_its_recoveries("hole 11, steps", &driver, &script)
}

/// The newest version of a key rots, and later commits attest that it was durable: no older one shows.
#[test]
pub(crate) fn hole_12_damage_shows_no_older_version() -> Result<(), String> {
    let driver = Tricks::on(small(1 << 20));
    let script = [
        Step::put(TARGET, 100).durable(),
        Step::put(TARGET, 200).durable(),
        Step::put(0, 100).durable(),
        Step::put(1, 100).durable(),
        Step::Other(ROT),
        Step::put(2, 100),
    ];
    crashed("hole 12", &driver, Keeps::WhatItLikes, &script)
}

/// The same in the tail of a killed process, where it was in no segment yet: no hole, for its writer had finished.
#[test]
pub(crate) fn hole_12_a_bad_bit_in_the_tail_is_no_hole() -> Result<(), String> {
    let driver = Tricks::on(small(1 << 20));
    let script = [
        Step::put(TARGET, 100).durable(),
        Step::put(TARGET, 200),
        Step::put(0, 100),
        Step::Other(ROT_TAIL),
    ];
    crashed("hole 12, the tail", &driver, Keeps::WhatItLikes, &script)
}

/// After lost power a sector of the tail's head may hold anything, and next to it a good one: anything attests nothing. One word
/// in a thousand of it passes its own check.
#[test]
pub(crate) fn hole_12_anything_in_the_tail_attests_nothing() -> Result<(), String> {
    let driver = Undamaged(Perennial(small(1 << 20)));
    // Among many: the recoveries of all that a disk may keep of two syncs and a new file.
    let script = [
        Step::Reopen,
        Step::put(0, 249).durable(),
        Step::Reopen,
        Step::put(3, 1_000),
        Step::put(2, 148).durable(),
        Step::put(0, 1_517),
    ];
    let far = hunts() || effort() >= 10;
    let options = Options {
        breadth: Breadth {
            exhaustive_up_to: if far { 12 } else { 4 },
            sampled: 16,
        },
        crash_one_recovery_in: 1,
        ..Options::new(Keeps::Everything)
    };
    let last = script.len() - 1;
    run_as("hole 12, anything", &driver, options, (&script, last))
}

/// A hole in front of what returned: skipped in the same boot; without power the log ends there.
#[test]
pub(crate) fn hole_13_only_lost_power_ends_the_log_at_a_hole() -> Result<(), String> {
    let driver = Tricks::on(small(1 << 20).tail_bytes(16 << 10));
    let script = [
        Step::put(0, 100),
        Step::Other(BEGIN_SLOW),
        Step::put(0, 200),
        Step::put(1, 100),
    ];
    crashed("hole 13", &driver, Keeps::Everything, &script)?;
    let driver = Tricks {
        in_order: true,
        ..Tricks::on(small(1 << 20).tail_bytes(16 << 10))
    };
    let mut script: Vec<_> = (3..=8).map(|key| Step::put(key, 700)).collect();
    script.insert(2, Step::Flush);
    script.push(Step::Flush);
    crashed("hole 13, power", &driver, Keeps::Everything, &script)
}

/// The tail of another boot is a mix of what it held at any time: nothing in it is missed, and nothing believed.
#[test]
pub(crate) fn hole_14_the_tail_of_another_boot_says_nothing() -> Result<(), String> {
    let driver = Perennial(small(64 << 10));
    let mut script = vec![Step::put(0, 300), Step::remove(0).durable()];
    script.extend((0..18).map(|n| Step::put(1 + n % 3, 700)));
    script.extend([Step::put(0, 100), Step::remove(0), Step::put(1, 300)]);
    crashed("hole 14, laps", &driver, Keeps::WhatItLikes, &script)?;
    let driver = Perennial(small(1 << 20));
    let script = [
        Step::put(0, 300).durable(),
        Step::put(1, 300),
        Step::Reopen,
        Step::put(0, 400),
        Step::put(1, 100),
    ];
    crashed("hole 14", &driver, Keeps::Everything, &script)
}

/// Every open asks for another tail than the one before: the one that was in use is recovered first.
#[test]
pub(crate) fn hole_16_other_tail_options_lose_nothing() -> Result<(), String> {
    let small = || small(1 << 20);
    let driver = Tricks {
        options: vec![
            small(),
            small().tail_bytes(8 << 10),
            small().tail_dir("/elsewhere"),
        ],
        ..Tricks::default()
    };
    let script = [
        Step::put(0, 100).durable(),
        Step::put(1, 100),
        Step::remove(0),
        Step::Reopen,
        Step::put(0, 100),
    ];
    crashed("hole 16", &driver, Keeps::Everything, &script)
}
