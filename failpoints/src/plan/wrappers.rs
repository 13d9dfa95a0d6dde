//! The three traits again, each call counted and decided on before it goes through.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::fs::{Dir, DirEntry, File, Fs, LockGuard, OpenMode, SharedMap};

use super::{Action, CallKind, Control, FaultFs};

/// For calls that have neither offset nor length.
const NONE: (u64, u64) = (0, 0);

/// A short write to an unbuffered file reaches the media in whole sectors.
const SECTOR_BYTES: usize = 512;

/// What the memory of an unbuffered write is aligned to.
const MEMORY_ALIGN: usize = 4096;

impl Fs for FaultFs {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let name = path.to_string_lossy();
        let make = |_| self.inner.create_dir_all(path);
        self.control.call(CallKind::CreateDirAll, &name, NONE, make)
    }

    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn Dir>> {
        let name = path.to_string_lossy();
        let make = |_| self.inner.open_dir(path);
        let inner = self.control.call(CallKind::OpenDir, &name, NONE, make)?;
        Ok(Arc::new(FaultDir {
            inner,
            control: Arc::clone(&self.control),
        }))
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let name = path.to_string_lossy();
        let make = |_| self.inner.free_bytes(path);
        self.control.call(CallKind::FreeBytes, &name, NONE, make)
    }

    fn boot_id(&self) -> Option<[u8; 16]> {
        self.inner.boot_id()
    }

    fn random_u64(&self) -> u64 {
        self.inner.random_u64()
    }

    fn unix_time_ms(&self) -> u64 {
        self.inner.unix_time_ms()
    }

    fn monotonic_ns(&self) -> u64 {
        self.inner.monotonic_ns()
    }
}

#[derive(Debug)]
struct FaultDir {
    inner: Arc<dyn Dir>,
    control: Arc<Control>,
}

impl FaultDir {
    fn on_name<T>(
        &self,
        kind: CallKind,
        name: &str,
        make: impl FnOnce(&dyn Dir) -> io::Result<T>,
    ) -> io::Result<T> {
        self.control.call(kind, name, NONE, |_| make(&*self.inner))
    }

    fn on_dir<T>(
        &self,
        kind: CallKind,
        make: impl FnOnce(&dyn Dir) -> io::Result<T>,
    ) -> io::Result<T> {
        self.on_name(kind, &self.inner.path().to_string_lossy(), make)
    }
}

impl Dir for FaultDir {
    fn path(&self) -> &Path {
        self.inner.path()
    }

    fn list(&self) -> io::Result<Vec<DirEntry>> {
        self.on_dir(CallKind::List, |dir| dir.list())
    }

    fn has_other_entries(&self) -> io::Result<bool> {
        self.on_dir(CallKind::HasOtherEntries, |dir| dir.has_other_entries())
    }

    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let kind = match mode {
            OpenMode::CreateNew => CallKind::Create,
            _ => CallKind::Open,
        };
        let inner = self.on_name(kind, name, |dir| dir.open(name, mode))?;
        if mode != OpenMode::Read {
            self.control.opened_for_writing(name, &inner);
        }
        Ok(Arc::new(FaultFile {
            inner,
            control: Arc::clone(&self.control),
            name: name.to_owned(),
            direct: mode == OpenMode::Direct,
        }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let make = || self.inner.rename(from, to);
        self.control.change(CallKind::Rename, from, 0, make)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let make = || self.inner.remove(name);
        self.control.change(CallKind::Remove, name, 0, make)
    }

    fn sync(&self) -> io::Result<()> {
        let name = self.inner.path().to_string_lossy();
        let make = || self.inner.sync();
        self.control.change(CallKind::SyncDir, &name, 0, make)
    }

    fn try_lock(&self, name: &str) -> io::Result<Option<Box<dyn LockGuard>>> {
        self.on_name(CallKind::TryLock, name, |dir| dir.try_lock(name))
    }
}

#[derive(Debug)]
struct FaultFile {
    inner: Arc<dyn File>,
    control: Arc<Control>,
    name: String,
    direct: bool,
}

impl FaultFile {
    fn on_file<T>(
        &self,
        kind: CallKind,
        len: u64,
        make: impl FnOnce(&dyn File) -> io::Result<T>,
    ) -> io::Result<T> {
        let make = |_| make(&*self.inner);
        self.control.call(kind, &self.name, (0, len), make)
    }

    /// Writes at most `limit` bytes. An unbuffered file takes whole sectors, yet a device that stops in the middle
    /// reports what it took: the rest of the last sector is then not written although it is counted.
    fn write_short(&self, buf: &[u8], offset: u64, limit: usize) -> io::Result<usize> {
        let taken = limit.min(buf.len());
        let written = match self.direct {
            true => taken / SECTOR_BYTES * SECTOR_BYTES,
            false => taken,
        };
        let done = self.inner.write_at(&buf[..written], offset)?;
        Ok(if done == written { taken } else { done })
    }

    /// Writes with one bit flipped, in memory that is as aligned as an unbuffered file may want it.
    fn write_flipped(&self, buf: &[u8], offset: u64, bit: usize) -> io::Result<usize> {
        let mut space = vec![0; buf.len() + MEMORY_ALIGN];
        let skip = space.as_ptr().align_offset(MEMORY_ALIGN);
        let flipped = &mut space[skip..skip + buf.len()];
        flipped.copy_from_slice(buf);
        flip(flipped, bit);
        self.inner.write_at(flipped, offset)
    }

    /// Where a misdirected call ends up.
    fn other(&self) -> Arc<dyn File> {
        let other = self.control.other_file(&self.name);
        other.unwrap_or_else(|| Arc::clone(&self.inner))
    }

    /// Reads at most `limit` bytes; the same way round for an unbuffered file, which is asked for everything.
    fn read_short(&self, buf: &mut [u8], offset: u64, limit: usize) -> io::Result<usize> {
        let asked = if self.direct {
            buf.len()
        } else {
            limit.min(buf.len())
        };
        let done = self.inner.read_at(&mut buf[..asked], offset)?;
        Ok(done.min(limit))
    }
}

impl File for FaultFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let place = (offset, buf.len() as u64);
        let make = |action| match action {
            Action::Short(limit) => self.read_short(buf, offset, limit),
            Action::Misdirect(elsewhere) => self.inner.read_at(buf, elsewhere),
            Action::OtherFile => self.other().read_at(buf, offset),
            Action::FlipBit(bit) => {
                let done = self.inner.read_at(buf, offset)?;
                flip(&mut buf[..done], bit);
                Ok(done)
            }
            _ => self.inner.read_at(buf, offset),
        };
        self.control.call(CallKind::Read, &self.name, place, make)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        let place = (offset, buf.len() as u64);
        let make = |action| match action {
            Action::Short(limit) => self.write_short(buf, offset, limit),
            Action::Skip => Ok(buf.len()),
            Action::Misdirect(elsewhere) => self.inner.write_at(buf, elsewhere),
            Action::OtherFile => self.other().write_at(buf, offset),
            Action::FlipBit(bit) => self.write_flipped(buf, offset, bit),
            _ => self.inner.write_at(buf, offset),
        };
        self.control.call(CallKind::Write, &self.name, place, make)
    }

    fn len(&self) -> io::Result<u64> {
        self.on_file(CallKind::Len, 0, |file| file.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let make = || self.inner.set_len(len);
        self.control.change(CallKind::SetLen, &self.name, len, make)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let make = || self.inner.allocate(len);
        self.control
            .change(CallKind::Allocate, &self.name, len, make)
    }

    fn sync_data(&self) -> io::Result<()> {
        let make = || self.inner.sync_data();
        self.control.change(CallKind::SyncData, &self.name, 0, make)
    }

    fn map(&self, len: usize) -> io::Result<Box<dyn SharedMap>> {
        self.on_file(CallKind::Map, len as u64, |file| file.map(len))
    }

    fn advise_random(&self) {
        let advise = |file: &dyn File| {
            file.advise_random();
            Ok(())
        };
        // Advice has no result: a failure is the call not made.
        let _ = self.on_file(CallKind::Advise, 0, advise);
    }
}

fn flip(bytes: &mut [u8], bit: usize) {
    let byte = bytes.get_mut(bit / 8);
    byte.into_iter().for_each(|byte| *byte ^= 1 << (bit % 8));
}
