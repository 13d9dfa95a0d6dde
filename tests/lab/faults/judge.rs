//! What must hold after a fault and a crash, once the disk is well again.

use std::sync::Arc;

use perennial::{Cache, ErrorKind};
use perennial_failpoints::SimFs;
use perennial_failpoints::lab::{Crash, Oracle, identify};

use super::story::Moment;
use crate::driver::small;

/// The error is one that a device can cause.
pub(super) fn typed(error: &perennial::Error) {
    let expected = matches!(
        error.kind(),
        ErrorKind::Io
            | ErrorKind::Full
            | ErrorKind::Poisoned
            | ErrorKind::Closed
            | ErrorKind::Corrupt
            | ErrorKind::Invalid
    );
    assert!(expected, "{:?}: {error}", error.kind());
}

/// What must hold after a crash.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Promise {
    /// Everything.
    All,
    /// It opens or says why not; no wrong bytes, and after a kill none that are stale or removed.
    Safe,
    /// The same, but a power loss right after the fault shows only whole values of the right keys: nothing attests the
    /// last commit (`docs/recovery.md`, not covered).
    SafeLater,
    /// The same, but a power loss may take durable operations back: the device had said that they were.
    SafeBytes,
}

/// Recovers from every crash of a moment on a disk that is well.
pub(super) fn judge(moment: &Moment, promise: Promise, salt: u64) -> Result<u64, String> {
    let power = (0..2).map(|seed| (Crash::Power, moment.machine.power_loss(salt ^ seed << 32)));
    let kill = std::iter::once((Crash::Kill, moment.machine.process_crash()));
    let mut opens = 0;
    for (crash, image) in kill.chain(power) {
        let fresh = promise == Promise::SafeLater && !moment.later;
        let loose = (promise == Promise::SafeBytes || fresh) && crash == Crash::Power;
        look(&image, &mut moment.oracle.clone(), crash, promise, loose)
            .map_err(|why| format!("{}, {crash:?}: {why}", moment.at))?;
        opens += 2;
    }
    Ok(opens)
}

/// Opens what a crash left, twice, with a durable operation in between.
fn look(
    image: &SimFs,
    oracle: &mut Oracle,
    crash: Crash,
    promise: Promise,
    loose: bool,
) -> Result<(), String> {
    for again in [false, true] {
        let cache = match Cache::open_with(Arc::new(image.clone()), "/cache", small(1 << 20)) {
            Ok(cache) => cache,
            Err(error) if promise == Promise::All => {
                return Err(format!("does not open: {error}"));
            }
            Err(error) => {
                typed(&error);
                return Ok(());
            }
        };
        for key in oracle.known_keys() {
            let found = cache.get(&key).map_err(|e| e.to_string())?;
            match found {
                Some(found) if loose => drop(identify(&key, &found)?),
                None if promise != Promise::All => {}
                found if again => oracle.check_running(&key, found.as_deref())?,
                found => oracle.check_recovered(&key, found.as_deref(), crash)?,
            }
        }
        cache
            .insert_durable("life", "goes on")
            .map_err(|e| e.to_string())?;
        cache.close().map_err(|e| e.to_string())?;
    }
    Ok(())
}
