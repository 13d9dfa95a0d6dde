//! Opening a directory only to look at it: nothing is made, mapped or written.

use std::path::Path;
use std::sync::Arc;

use perennial_failpoints::fs::{Dir, Fs, LockGuard};
use perennial_recovery::{Identity, TailFile, identity};
use perennial_wal::{Contents, Geometry, TailMemory};

use crate::error::{Error, ErrorKind, Result};
use crate::open::{locked, refuse_strangers};

/// A cache directory and what it says of itself.
pub(crate) struct Look {
    pub(crate) dir: Arc<dyn Dir>,
    pub(crate) identity: Identity,
    pub(crate) tail: TailFile,
    /// The directory's own is among the locks.
    locked: bool,
    locks: Vec<Box<dyn LockGuard>>,
}

impl Look {
    /// With `lock` nobody changes the directory as long as this lives.
    pub(crate) fn open(fs: &dyn Fs, path: &Path, lock: bool) -> Result<Self> {
        let shown = path.display();
        let dir = fs
            .open_dir(path)
            .map_err(|e| Error::io(format!("cannot open {shown}"), e))?;
        let mut locks = Vec::new();
        if lock {
            locks.extend(take_lock(&*dir, identity::LOCK_NAME)?);
        }
        let locked = !locks.is_empty();
        let Some(identity) = identity::read(&*dir)? else {
            refuse_strangers(&*dir)?;
            return Err(Error::invalid(format!("{shown} holds no cache")));
        };
        check(&identity, &*dir)?;
        if let Some(elsewhere) = identity.tail.dir.as_deref().filter(|_| lock)
            && let Ok(dir) = fs.open_dir(Path::new(elsewhere))
        {
            locks.extend(take_lock(
                &*dir,
                &format!("{}.lock", identity.tail.file_name()),
            )?);
        }
        let tail = TailFile::read(fs, &dir, &identity)
            .map_err(|e| Error::io(format!("cannot read the tail of {shown}"), e))?;
        Ok(Self {
            dir,
            identity,
            tail,
            locked,
            locks,
        })
    }

    /// Makes the lock's file where there is none: for who is going to write. True: it was not locked before.
    pub(crate) fn lock(&mut self) -> Result<bool> {
        if self.locked {
            return Ok(false);
        }
        let shown = self.dir.path().display();
        let lock = self.dir.try_lock(identity::LOCK_NAME);
        let lock = lock.map_err(|e| Error::io(format!("cannot lock {shown}"), e))?;
        self.locks.push(lock.ok_or_else(|| locked(&*self.dir))?);
        self.locked = true;
        Ok(true)
    }

    /// Reads identity and tail again: something was written.
    pub(crate) fn read_again(&mut self, fs: &dyn Fs) -> Result<()> {
        if let Some(identity) = identity::read(&*self.dir)? {
            self.identity = identity;
        }
        let shown = self.dir.path().display();
        self.tail = TailFile::read(fs, &self.dir, &self.identity)
            .map_err(|e| Error::io(format!("cannot read the tail of {shown}"), e))?;
        Ok(())
    }

    pub(crate) fn geometry(&self) -> Geometry {
        Geometry {
            segment_bytes: u64::from(self.identity.segment_bytes),
            sector: u64::from(self.identity.sector),
        }
    }

    pub(crate) fn contents(&self) -> Result<Contents<'_>> {
        let evidence = self.tail.evidence();
        Ok(Contents::read(
            &*self.dir,
            self.identity.cache_id,
            self.geometry(),
            evidence,
        )?)
    }
}

/// A lock file is not made here. Where there is none, nobody holds it.
fn take_lock(dir: &dyn Dir, name: &str) -> Result<Option<Box<dyn LockGuard>>> {
    let shown = dir.path().display();
    let names = dir
        .list()
        .map_err(|e| Error::io(format!("cannot list {shown}"), e))?;
    if names.iter().all(|entry| entry.name != name) {
        return Ok(None);
    }
    let lock = dir
        .try_lock(name)
        .map_err(|e| Error::io(format!("cannot lock {shown}"), e))?;
    lock.map(Some).ok_or_else(|| locked(dir))
}

/// Sizes that no cache was ever made with would be divided by, or asked of the memory.
pub(crate) fn check(identity: &Identity, dir: &dyn Dir) -> Result<()> {
    let segment_bytes = u64::from(identity.segment_bytes);
    let good = Geometry::is_segment_size(segment_bytes)
        && Geometry::of(segment_bytes).sector == u64::from(identity.sector)
        && (46..=64).contains(&identity.identity_bits)
        && (TailMemory::min_ring_bytes(u64::from(identity.sector))..=1 << 30)
            .contains(&identity.tail.ring_bytes)
        && identity.tail.ring_bytes.is_multiple_of(4096);
    if good {
        Ok(())
    } else {
        let path = dir.path().join(identity::FILE_NAME);
        let message = format!("{}: sizes that no cache has", path.display());
        Err(Error::new(ErrorKind::Corrupt, message))
    }
}
