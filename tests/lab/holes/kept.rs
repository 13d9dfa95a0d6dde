//! Holes of entries that are copied when their segment is reclaimed.

use perennial::Eviction;
use perennial_failpoints::lab::{Keeps, Step};

use super::crashed;
use crate::driver::{Perennial, Undamaged, small};

/// Two keys are stored once and read all the time, three are stored over and over: what is live is copied when its segment
/// is reclaimed, and none is evicted. So all must be there after every crash, as if nothing were ever reclaimed: where it
/// was, until the log says durably where it is.
#[test]
pub(crate) fn hole_02_what_is_copied_is_in_one_place_or_the_other() -> Result<(), String> {
    stays("hole 2", Eviction::S3Merge, 60)
}

/// The same for copies that go to the head of the log.
#[test]
pub(crate) fn hole_02_what_is_appended_again_is_in_one_place_or_the_other() -> Result<(), String> {
    stays("hole 2, in the log", Eviction::Clock, 60)
}

/// Copies of copies, and checkpoints between them: the source of each is long written over.
#[test]
pub(crate) fn hole_03_copies_of_copies_are_found() -> Result<(), String> {
    stays("hole 3", Eviction::S3Merge, 160)
}

fn stays(name: &str, eviction: Eviction, puts: u32) -> Result<(), String> {
    let mut script = vec![Step::put(0, 300).durable(), Step::put(1, 2_000).durable()];
    for n in 0..puts {
        let key = u8::try_from(2 + n * 7 % 3).map_err(|e| e.to_string())?;
        let len = u16::try_from(400 + n * 211 % 600).map_err(|e| e.to_string())?;
        let put = Step::put(key, len);
        script.push(if n % 8 == 0 { put.durable() } else { put });
        script.extend((0..5).map(|key| Step::Get { key }));
    }
    let driver = Undamaged(Perennial(small(96 << 10).eviction(eviction)));
    crashed(name, &driver, Keeps::Everything, &script)
}
