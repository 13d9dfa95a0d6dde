//! Hole 9: a clear, and copies that were made of what it removes.

use perennial::Eviction;
use perennial_failpoints::lab::{Keeps, Step};

use super::crashed_in_the_last;
use crate::driver::{CHECKPOINT, Perennial, Undamaged, small};

/// Entries lie in kept segments, or were appended again, and a checkpoint says where; then all are cleared. Merges and
/// checkpoints of the time after it, a reopen, and every crash bring none back: they are gone in the log before the first file
/// that has them is free.
#[test]
pub(crate) fn hole_09_nothing_that_was_copied_outlives_a_clear() -> Result<(), String> {
    for eviction in [Eviction::S3Merge, Eviction::Clock] {
        let mut script = vec![Step::put(0, 300).durable(), Step::put(1, 2_000).durable()];
        script.extend(churn(60)?);
        script.push(Step::Other(CHECKPOINT));
        let before = script.len();
        script.extend([Step::put(2, 300), Step::Clear, Step::put(1, 200)]);
        // The segments that a clear gives up are written over, and merged again.
        script.extend(churn(40)?);
        script.extend([
            Step::Clear,
            Step::put(0, 100),
            Step::Reopen,
            Step::put(2, 90),
        ]);
        let driver = Undamaged(Perennial(small(96 << 10).eviction(eviction)));
        let steps = script.len() - before;
        let name = format!("hole 9, {eviction:?}");
        crashed_in_the_last(steps, &name, &driver, Keeps::Everything, &script)?;
    }
    Ok(())
}

/// Three keys are stored over and over, all are read.
fn churn(puts: u32) -> Result<Vec<Step>, String> {
    let mut script = Vec::new();
    for n in 0..puts {
        let key = u8::try_from(2 + n * 7 % 3).map_err(|e| e.to_string())?;
        let len = u16::try_from(400 + n * 211 % 600).map_err(|e| e.to_string())?;
        script.push(Step::put(key, len));
        script.extend((0..5).map(|key| Step::Get { key }));
    }
    Ok(script)
}
