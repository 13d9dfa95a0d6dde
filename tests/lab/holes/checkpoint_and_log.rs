//! Holes 1 to 9: the checkpoint, gaps in the log, a full log, the capacity.

use perennial_failpoints::lab::{Keeps, Step};

use super::tricks::{LOSE, TARGET, Tricks};
use super::{crashed, crashed_in_the_last};
use crate::driver::{CHECKPOINT, Perennial, small};

/// The image points at an entry that is still being copied; what it replaced lies before the C of the checkpoint.
#[test]
pub(crate) fn hole_01_a_checkpoint_waits_for_the_entries_it_points_at() -> Result<(), String> {
    let driver = Tricks {
        slow_puts: true,
        ..Tricks::on(small(1 << 20).tail_bytes(64 << 10))
    };
    let script = [
        Step::put(TARGET, 900).durable(),
        Step::put(TARGET, 300),
        Step::remove(0),
    ];
    crashed("hole 1", &driver, Keeps::Everything, &script)
}

/// Replay begins at the C that was read before the first image, not where the head lies.
#[test]
pub(crate) fn hole_01_replay_begins_where_the_images_did() -> Result<(), String> {
    let script = [
        Step::put(0, 300),
        Step::put(1, 40).durable(),
        Step::put(0, 500),
        Step::Other(CHECKPOINT),
        Step::remove(1),
        Step::put(1, 1_000),
        Step::put(0, 60),
        Step::Flush,
    ];
    let driver = Perennial(small(1 << 20));
    crashed("hole 1, replay", &driver, Keeps::Everything, &script)
}

/// A value, its remove in a later segment, and that one is lost from the middle of the log.
#[test]
pub(crate) fn hole_04_nothing_comes_back_over_a_gap() -> Result<(), String> {
    let driver = Tricks::on(small(1 << 20).checkpoint_every_bytes(1 << 19));
    let mut script = vec![Step::put(0, 900)];
    script.extend([Step::put(1, 900); 8]);
    script.push(Step::put(TARGET, 900));
    script.push(Step::remove(0));
    script.extend([Step::put(1, 900).durable(); 8]);
    script.push(Step::Other(LOSE));
    crashed_in_the_last(3, "hole 4, a gap", &driver, Keeps::WhatItLikes, &script)
}

/// The same with the segment that the log ends in. Without power the tail does not say how far it had come.
#[test]
pub(crate) fn hole_04_a_lost_end_shows() -> Result<(), String> {
    let driver = Tricks::on(small(1 << 20));
    let mut script = vec![Step::put(0, 900)];
    script.extend([Step::put(1, 900); 8]);
    script.extend([
        Step::put(TARGET, 900),
        Step::remove(0).durable(),
        Step::Other(LOSE),
    ]);
    crashed("hole 4, the end", &driver, Keeps::WhatItLikes, &script)
}

/// However much is written, the log reaches back to a checkpoint, and little has to be replayed.
#[test]
pub(crate) fn hole_05_the_log_reaches_back_to_a_checkpoint() -> Result<(), String> {
    let driver = Tricks {
        // What the log holds is twice as much.
        replays_at_most: Some(70),
        ..Tricks::on(small(64 << 10).checkpoint_every_bytes(4 << 10))
    };
    let script: Vec<_> = (0..90).map(|n| Step::put(n % 5, 150)).collect();
    crashed("hole 5", &driver, Keeps::WhatItLikes, &script)
}

/// The disk is full, and the log lies in the tail as a whole: nothing of it is stable, and room is made all the same.
#[test]
pub(crate) fn hole_06_a_full_log_makes_room_for_itself() -> Result<(), String> {
    let driver = Tricks {
        segment_files_at_most: Some(6),
        ..Tricks::on(
            small(1 << 20)
                .tail_bytes(64 << 10)
                .checkpoint_every_bytes(1 << 19),
        )
    };
    let mut script: Vec<_> = (0..24).map(|n| Step::put(n % 5, 2_000)).collect();
    script.extend([
        Step::remove(0),
        Step::Other(CHECKPOINT),
        Step::put(0, 5_000),
    ]);
    crashed("hole 6", &driver, Keeps::WhatItLikes, &script)
}

/// Everything in the directory, at every moment, is within the capacity.
#[test]
pub(crate) fn hole_07_the_capacity_covers_everything() -> Result<(), String> {
    let driver = Tricks {
        at_most_bytes: Some(96 << 10),
        ..Tricks::on(small(96 << 10).tail_bytes(16 << 10))
    };
    let script: Vec<_> = (0..40).map(|n| Step::put(n % 5, 2_500)).collect();
    crashed("hole 7", &driver, Keeps::WhatItLikes, &script)
}
