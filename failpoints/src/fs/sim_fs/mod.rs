//! [`SimFs`]: a file system in memory that can crash.
//!
//! The rules, which are those of the strictest file system that code can be asked to survive:
//!
//! * A successful `sync_data` makes durable the data and size changes issued before it on that file, a successful
//!   `Dir::sync` the names created, renamed and removed before it in that directory. Nothing else does: not closing,
//!   not another file's sync, not time.
//! * [`SimFs::process_crash`] loses nothing: what was written stays, maps included, and stays as unsynced as it was.
//! * [`SimFs::power_loss`] keeps any part of what was not synced. Writes are torn at sectors of 512 bytes, sizes and
//!   data are independent, a rename may leave the old name, the new one or both, removed files may come back.
//! * Of a mapped piece of 4096 bytes any version may show that it had since the file's last sync, or a mix of their
//!   sectors. Versions are taken at syncs, of whatever file, and of maps up to 1 MiB.
//! * A sync that fails ([`Syncs`]) gives the bytes up: later ones succeed and do not write them.
//!
//! What a disk does silently is not here but in `Action` of [`FaultFs`](crate::FaultFs), which loses and misdirects
//! calls, and in the methods that damage a file at rest ([`SimFs::overwrite`] and its neighbours).
//!
//! One assumption about the media: a sector that was on it once and is being *re*written shows its old or its new
//! bytes. Sectors that never were on it may show zeros, junk, or what a file held in that place that was deleted or has lost
//! its name in a crash.
//!
//! Changes are held, with what they replaced, until they are synced: a program that never syncs fills the memory.

mod damage;
mod dropped;
mod handles;
mod inode;
mod inspect;
mod names;
mod power;
mod rng;
mod sectors;
mod state;
mod versions;

#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod nameless_tests;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Dir, Fs, invalid};
use handles::SimDir;
use state::{State, normal};

/// What becomes of syncs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Syncs {
    /// They do what they say.
    #[default]
    Work,
    /// The next one of a file fails; what it should have written is given up for good. Then they work.
    FailOnce(Shows),
    /// So many of files work, the one after them fails so.
    FailOnceAfter(u64, Shows),
    /// Every one of a file fails so, and those of directories change nothing.
    Fail(Shows),
    /// They report success and do nothing.
    Lie,
}

/// What readers see of bytes that a failed sync gave up. Sizes are durable, of bytes each sector may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shows {
    /// The bytes, as on ext4 and XFS, until the machine restarts.
    New,
    /// What was there before, as on btrfs.
    Old,
}

/// A file system, a clock and a boot in memory. Clones are the same machine; crashes make others.
#[derive(Clone)]
pub struct SimFs {
    state: Arc<Mutex<State>>,
}

impl SimFs {
    /// An empty machine; the seed decides its boot id and random numbers.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::from_state(State::new(seed))
    }

    fn from_state(state: State) -> Self {
        let state = Arc::new(Mutex::new(state));
        Self { state }
    }

    /// The machine after SIGKILL, independent of this one: every byte written or stored through a map is there,
    /// locks are free, the boot is the same. What was not synced still is not.
    #[must_use]
    pub fn process_crash(&self) -> Self {
        Self::from_state(self.state.lock().after_process_crash())
    }

    /// The machine after a power loss, independent of this one: what was synced, and of the rest what `seed` leaves.
    /// The boot is another. The same state and seed give the same machine.
    #[must_use]
    pub fn power_loss(&self, seed: u64) -> Self {
        Self::from_state(self.state.lock().after_power_loss(seed))
    }

    /// The machine after a power loss that kept, of the [`pending_effects`](Self::pending_effects), those whose bit in
    /// `kept` is set, each whole. Effects beyond the 64th are lost.
    #[must_use]
    pub fn power_loss_keeping(&self, kept: u64) -> Self {
        let state = self.state.lock();
        Self::from_state(state.after_power_loss_keeping(kept))
    }

    /// Limits the bytes that files may hold together; `None`: no limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state.lock().capacity = bytes;
    }

    /// Makes opening in [`OpenMode::Direct`](super::OpenMode::Direct) fail, as on file systems that have no such mode.
    pub fn refuse_direct(&self, refuse: bool) {
        self.state.lock().refuse_direct = refuse;
    }

    /// Decides what becomes of syncs from now on; a crash ends it.
    pub fn set_syncs(&self, syncs: Syncs) {
        self.state.lock().syncs = syncs;
    }

    /// Lets time pass on both clocks.
    pub fn advance(&self, ms: u64) {
        let mut state = self.state.lock();
        state.unix_time_ms = state.unix_time_ms.saturating_add(ms);
        state.monotonic_ns += ms.saturating_mul(1_000_000);
    }

    /// Sets the wall clock; it may go back.
    pub fn set_unix_time_ms(&self, ms: u64) {
        self.state.lock().unix_time_ms = ms;
    }
}

impl fmt::Debug for SimFs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimFs").finish_non_exhaustive()
    }
}

impl Fs for SimFs {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let path = normal(path);
        let mut state = self.state.lock();
        let is_file = path.ancestors().any(|above| state.is_file(above));
        if is_file {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.make_dirs(&path);
        Ok(())
    }

    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn Dir>> {
        let path = normal(path);
        self.state.lock().dir(&path)?;
        Ok(Arc::new(SimDir::new(self.clone(), path)))
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let mut state = self.state.lock();
        state.dir(&normal(path))?;
        Ok(state.free_bytes())
    }

    fn boot_id(&self) -> Option<[u8; 16]> {
        Some(self.state.lock().boot_id)
    }

    fn random_u64(&self) -> u64 {
        self.state.lock().rng.next()
    }

    fn unix_time_ms(&self) -> u64 {
        self.state.lock().unix_time_ms
    }

    fn monotonic_ns(&self) -> u64 {
        let mut state = self.state.lock();
        // A little later at every look, so that nothing divides by a duration of zero.
        state.monotonic_ns += 100;
        state.monotonic_ns
    }
}
