//! Holes 17 to 29: buffers, syncs, segments, large values, the mapped tail.

use perennial_failpoints::lab::{Keeps, Step};

use super::tricks::{ROT_HEADER_AND_FLUSH, TARGET, Tricks};
use super::{crashed, crashed_in_the_last, crashed_with_its_recoveries};
use crate::driver::{Perennial, small};

fn kept(name: &str, script: &[Step]) -> Result<(), String> {
    crashed(name, &Perennial(small(1 << 20)), Keeps::Everything, script)
}

/// Commits again and again in the middle of one sector.
#[test]
pub(crate) fn hole_17_a_sector_is_written_with_all_that_is_in_it() -> Result<(), String> {
    let script = [
        Step::put(0, 40).durable(),
        Step::put(1, 40).durable(),
        Step::put(0, 60).durable(),
        Step::remove(1).durable(),
        Step::put(2, 500).durable(),
        Step::put(1, 30).durable(),
    ];
    kept("hole 17", &script)
}

/// Blocks of the disk hold what a cache before this one left there, until something is written over it and synced.
#[test]
pub(crate) fn hole_18_a_new_file_shows_nothing_of_what_was_there() -> Result<(), String> {
    let driver = Tricks {
        littered: true,
        ..Tricks::on(small(1 << 20))
    };
    let script = [
        Step::put(0, 2_500).durable(),
        Step::put(1, 2_500),
        Step::put(2, 2_500).durable(),
    ];
    crashed("hole 18", &driver, Keeps::Everything, &script)
}

/// The last frame's segment is the second that a commit has to sync; a trailer follows.
#[test]
pub(crate) fn hole_19_a_commit_syncs_every_segment_it_wrote() -> Result<(), String> {
    let driver = Perennial(small(1 << 20).tail_bytes(32 << 10));
    let script = [
        Step::put(0, 2_500),
        Step::put(1, 2_500),
        Step::put(2, 2_500),
        Step::put(3, 2_500).durable(),
        Step::put(0, 2_400),
        Step::put(1, 2_400),
        Step::remove(2).durable(),
    ];
    crashed("hole 19", &driver, Keeps::Everything, &script)
}

/// From the first open on segments are entered whose names and headers have to be durable before.
#[test]
pub(crate) fn hole_20_no_lsn_without_a_durable_file() -> Result<(), String> {
    let script = [
        Step::put(0, 2_500).durable(),
        Step::put(1, 2_500),
        Step::put(2, 2_500).durable(),
        Step::Reopen,
        Step::put(0, 2_500),
        Step::put(1, 2_500).durable(),
    ];
    kept("hole 20", &script)?;
    // What a killed open has made, the next one goes on with.
    let script = [Step::put(0, 300), Step::Reopen];
    let driver = Perennial(small(1 << 20));
    crashed_with_its_recoveries("hole 20, opens", &driver, &script)
}

/// The older version was durable, and reads saw it gone.
#[test]
pub(crate) fn hole_22_an_abandoned_entry_is_a_remove() -> Result<(), String> {
    let script = [
        Step::put(0, 100).durable(),
        Step::Abandon { key: 0, len: 200 },
        Step::put(1, 4_000),
        Step::Abandon { key: 1, len: 4_000 },
        Step::Flush,
    ];
    kept("hole 22", &script)
}

/// Values beyond the io buffers, over smaller ones and under them, and between frames of one sector.
#[test]
pub(crate) fn hole_24_an_extent_is_there_before_its_reference() -> Result<(), String> {
    let script = [
        Step::put(0, 100),
        Step::put(0, 4_000).durable(),
        Step::put(1, 40),
        Step::put(0, 5_000),
        Step::put(1, 3_000).durable(),
        Step::put(0, 50),
    ];
    kept("hole 24", &script)
}

/// Reads go to the ring and to the segments while the ring goes round: a segment begins in its middle, and what it writes
/// over may have its header in front of that.
#[test]
pub(crate) fn hole_25_a_reader_is_served_what_it_asked_for() -> Result<(), String> {
    let rounds = (0..20_u8).flat_map(|n| {
        let get = |behind: u8| Step::Get {
            key: (n + 8 - behind) % 8,
        };
        [Step::put(n % 8, 620 + 10 * u16::from(n)), get(4), get(6)]
    });
    kept("hole 25", &rounds.collect::<Vec<_>>())
}

/// The kernel lost a page of the tail and read an older one back: it is not written, and the log stops.
#[test]
pub(crate) fn hole_26_a_tail_that_changed_is_not_written() -> Result<(), String> {
    let driver = Tricks::on(small(1 << 20));
    let script = [
        Step::put(TARGET, 100).durable(),
        Step::put(TARGET, 200),
        Step::put(0, 100),
        Step::Other(ROT_HEADER_AND_FLUSH),
    ];
    crashed("hole 26", &driver, Keeps::WhatItLikes, &script)
}

/// The next write begins in the sector where the last one ended, whose bytes come from the ring.
#[test]
pub(crate) fn hole_29_the_floor_stays_behind_the_stable_lsn() -> Result<(), String> {
    let mut script = vec![Step::put(0, 250).durable()];
    script.extend((1..120).map(|key| Step::put(key, 24)));
    // The ring goes round within a segment, and all of it is filled between two writes.
    let options = small(1 << 20).segment_bytes(16 << 10);
    let driver = Perennial(options.checkpoint_every_bytes(1 << 19));
    crashed_in_the_last(30, "hole 29", &driver, Keeps::Everything, &script)
}
