//! Hole 10, once more: headers that a recovery blanked.

use perennial_failpoints::lab::{Keeps, Step};

use super::run;
use crate::driver::{CHECKPOINT, Perennial, Undamaged, small};

/// A recovery after a power loss blanks the headers of segments that it cuts off, and is killed before the zeros are durable.
/// The next one knows nothing of their numbers and gives them again; what a power loss then brings back is no segment's equal.
///
/// `just crash` found it, in seed 207 of the scripts that clear; this is what is left of that script. The last segment has too little
/// room for another life, two prepared ones lie behind it, and free files are taken in another order than they are blanked in.
#[test]
pub(crate) fn hole_10_a_blanked_header_stays_blank() -> Result<(), String> {
    let driver = Undamaged(Perennial(small(64 << 10)));
    let script = [
        Step::Other(CHECKPOINT),
        Step::Other(CHECKPOINT),
        Step::put(4, 864).durable(),
        Step::put(10, 818),
        Step::put(4, 478).durable(),
        Step::put(3, 1_188),
        Step::put(2, 477),
        Step::put(11, 390),
        Step::put(4, 234),
        Step::Reopen,
        Step::put(2, 117),
        Step::put(2, 568),
        Step::remove(0),
        Step::put(0, 857),
        Step::put(0, 749).durable(),
        Step::put(2, 244),
        Step::put(4, 464),
        Step::put(11, 276),
        Step::put(10, 293),
        Step::put(0, 842),
        Step::put(4, 343),
        Step::put(1, 571),
        Step::Reopen,
        Step::Get { key: 0 },
        Step::put(11, 657).durable(),
        Step::Reopen,
        Step::put(11, 477),
        Step::put(4, 893),
        Step::put(0, 594),
        Step::Clear,
        Step::put(3, 378).durable(),
        Step::put(10, 678),
        Step::put(3, 353),
        Step::Flush,
        Step::put(1, 1_646),
        Step::remove(10),
        Step::put(11, 100),
        Step::put(3, 722),
        Step::put(0, 594),
        Step::put(0, 872),
        Step::put(2, 828),
        Step::put(3, 610),
        Step::Clear,
        Step::put(3, 298),
        Step::put(1, 3_067),
        Step::put(10, 851),
        Step::Abandon { key: 0, len: 275 },
        Step::put(3, 566).durable(),
        Step::put(1, 101).durable(),
    ];
    let last = script.len() - 1;
    run(
        "hole 10, blanked",
        &driver,
        Keeps::WhatItLikes,
        1,
        (&script, last),
    )
}
