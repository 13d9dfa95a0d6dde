//! What says where a segment ends.

use perennial_failpoints::lab::{Keeps, Options, Step};

use super::run_as;
use crate::driver::{Perennial, Undamaged, small};
use crate::scenarios::TRAILER_WITHOUT_MARK;

/// After a power loss the last segment has no room for its ending mark, so its trailer says where it ends. The recovery is killed
/// before it syncs that; the next one reads it well, and the tail says nothing of this boot: the first had not come to
/// write one. Where the log goes on behind a trailer that is on no disk, and power is lost again, all is given up.
#[test]
pub(crate) fn hole_15_a_trailer_is_written_again_whatever_the_tail_says() -> Result<(), String> {
    // One of them ends the segment just there. Which one moves with whatever the log takes: when it was 1064 and three around
    // 1000 were tried, the mutant got away.
    (952..=1144).step_by(16).try_for_each(with_a_value_of)
}

fn with_a_value_of(bytes: u16) -> Result<(), String> {
    let driver = Undamaged(Perennial(small(1 << 20)));
    let mut script = TRAILER_WITHOUT_MARK.to_vec();
    script[3] = Step::put(2, bytes);
    let options = Options {
        crash_one_recovery_in: 16,
        depth: 2,
        ..Options::new(Keeps::Everything)
    };
    let last = script.len() - 2;
    run_as("hole 15, trailers", &driver, options, (&script, last))
}
