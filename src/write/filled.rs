//! Inserts whose value a closure writes where it will stay.

use perennial_wal::{Addr, filling};

use super::{How, Placed, Placing};
use crate::compress::Compression;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::value::{Inserted, Rejection};

impl Engine {
    /// Inserts a value of `len` bytes that `fill` writes where it will stay. If `fill` fails or panics nothing is stored,
    /// and an older version goes too.
    pub(crate) fn insert_with_len<E>(
        &self,
        key: &[u8],
        len: usize,
        fill: impl FnOnce(&mut [u8]) -> std::result::Result<(), E>,
    ) -> Result<Inserted>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (hash, spec) = self.check_put(key, len)?;
        if !self.admits(hash, len) {
            return self.reject(key, Rejection::NotAdmitted, false, false);
        }
        if !self.goes_through_the_ring(&spec) || self.unlogged.is_on() {
            return self.insert_large_with(key, len, fill);
        }
        let placing = Placing {
            key,
            hash,
            spec,
            extent: None,
            only_for: None,
            expiry: 0,
        };
        let Placed::Reserved(reservation, entered) = self.place(&placing, false)? else {
            return Ok(Inserted::Rejected(Rejection::Superseded));
        };
        let addr = Addr::log(reservation.lsn());
        // A panic drops these two, the reservation first: it becomes a remove in the log before the entry is gone.
        let abandoned = Abandoned {
            engine: self,
            hash,
            addr,
        };
        let mut reservation = reservation;
        let body = reservation.body();
        body.key.copy_from_slice(key);
        // The ring holds what others wrote a lap ago; a closure that fills less than it asked for must not store that.
        body.value.fill(0);
        let filled = filling(|| fill(body.value));
        if let Err(error) = filled {
            perennial_failpoints::site!("write::abort");
            reservation.abort();
            drop(abandoned);
            self.after_operation(entered);
            return Err(failed_to_fill(error));
        }
        std::mem::forget(abandoned);
        let end = reservation.complete();
        let bytes = key.len() + len;
        self.finish_insert((bytes, bytes), end, false, entered)
    }

    /// A value too large for the ring has no bytes to fill in place before its extent is written: it is filled in memory.
    fn insert_large_with<E>(
        &self,
        key: &[u8],
        len: usize,
        fill: impl FnOnce(&mut [u8]) -> std::result::Result<(), E>,
    ) -> Result<Inserted>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        /// The older version goes if the closure panics.
        struct RemoveOnPanic<'a>(&'a Engine, &'a [u8]);
        impl Drop for RemoveOnPanic<'_> {
            fn drop(&mut self) {
                if let Err(error) = self.0.remove(self.1, false) {
                    tracing::error!(%error, "an older version could not be removed after a failed insert");
                }
            }
        }
        // As where a place is reserved first: the closure is not asked in vain.
        if let Some(why) = self.log.failed().filter(|_| !self.unlogged.is_on()) {
            return Err(why.into());
        }
        let mut value = vec![0; len];
        let on_panic = RemoveOnPanic(self, key);
        let filled = fill(&mut value);
        std::mem::forget(on_panic);
        if let Err(error) = filled {
            // `Origin` says that the older version is gone. Where that cannot be logged it is there, and nothing happened.
            self.remove(key, false)?;
            return Err(failed_to_fill(error));
        }
        let how = How {
            compression: Some(Compression::None),
            ..How::default()
        };
        self.insert_how(key, &value, how)
    }
}

/// Takes the entry of an abandoned reservation out of the index, if it is still that one.
struct Abandoned<'a> {
    engine: &'a Engine,
    hash: u64,
    addr: Addr,
}

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        // Together, or a clear between the two would have forgotten the count.
        let mut shard = self.engine.index.lock(self.hash);
        if shard.remove_if(self.hash, self.addr) {
            self.engine.ledger.subtract(self.addr);
        }
    }
}

fn failed_to_fill(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    let error = error.into();
    Error::new(
        ErrorKind::Origin,
        format!("the closure that fills the value failed: {error}"),
    )
    .with_source(error)
}
