//! What a program holds open: directories, files, maps and locks of a [`SimFs`].

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::io::Errno;

use crate::fs::mapping::Memory;
use crate::fs::{Dir, DirEntry, File, LockGuard, OpenMode, SharedMap, check_name};

use super::sectors::SECTOR_BYTES;
use super::state::State;
use super::{SimFs, invalid};

/// An open directory.
#[derive(Debug)]
pub(super) struct SimDir {
    fs: SimFs,
    path: PathBuf,
}

impl SimDir {
    pub(super) fn new(fs: SimFs, path: PathBuf) -> Self {
        Self { fs, path }
    }
}

impl Dir for SimDir {
    fn path(&self) -> &Path {
        &self.path
    }

    fn list(&self) -> io::Result<Vec<DirEntry>> {
        let state = &mut *self.fs.state.lock();
        let names = state.dir(&self.path)?.current.clone();
        let entry = |(name, inode): (Arc<str>, u64)| {
            let len = state.inode(inode)?.len() as u64;
            let name = String::from(&*name);
            Ok(DirEntry { name, len })
        };
        names.into_iter().map(entry).collect()
    }

    fn has_other_entries(&self) -> io::Result<bool> {
        let state = self.fs.state.lock();
        let below = |path: &PathBuf| path.parent() == Some(&self.path);
        Ok(state.dirs.keys().any(below))
    }

    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        check_name(name)?;
        let mut state = self.fs.state.lock();
        let inode = match (mode, state.find(&self.path, name)) {
            (OpenMode::CreateNew, Some(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
            (OpenMode::CreateNew, None) => state.create(&self.path, name)?,
            (OpenMode::Direct, _) if state.refuse_direct => {
                return Err(invalid("this file system has no direct mode"));
            }
            (_, Some(inode)) => inode,
            (_, None) => return Err(io::ErrorKind::NotFound.into()),
        };
        let handle = Handle::new(&self.fs, &mut state, inode)?;
        Ok(Arc::new(SimFile { handle, mode }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        check_name(from)?;
        check_name(to)?;
        self.fs.state.lock().rename(&self.path, from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        check_name(name)?;
        self.fs.state.lock().remove(&self.path, name)
    }

    fn sync(&self) -> io::Result<()> {
        self.fs.state.lock().sync_dir(&self.path)
    }

    fn try_lock(&self, name: &str) -> io::Result<Option<Box<dyn LockGuard>>> {
        check_name(name)?;
        let mut state = self.fs.state.lock();
        let inode = match state.find(&self.path, name) {
            Some(inode) => inode,
            None => state.create(&self.path, name)?,
        };
        if !state.locks.insert(inode) {
            return Ok(None);
        }
        let handle = Handle::new(&self.fs, &mut state, inode)?;
        Ok(Some(Box::new(SimLock { handle })))
    }
}

/// Keeps an inode alive, whatever happens to its names.
struct Handle {
    fs: SimFs,
    inode: u64,
}

impl Handle {
    fn new(fs: &SimFs, state: &mut State, inode: u64) -> io::Result<Self> {
        state.inode(inode)?.handles += 1;
        let fs = fs.clone();
        Ok(Self { fs, inode })
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut state = self.fs.state.lock();
        if let Ok(inode) = state.inode(self.inode) {
            inode.handles -= 1;
        }
        state.bury_if_unused(self.inode);
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "inode {}", self.inode)
    }
}

#[derive(Debug)]
struct SimLock {
    handle: Handle,
}

impl LockGuard for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.handle.fs.state.lock();
        state.locks.remove(&self.handle.inode);
    }
}

#[derive(Debug)]
struct SimFile {
    handle: Handle,
    mode: OpenMode,
}

impl SimFile {
    /// Runs `change` where this handle may write, with the machine's state.
    fn writing<T>(&self, change: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        if self.mode == OpenMode::Read {
            return Err(Errno::BADF.into());
        }
        change(&mut self.handle.fs.state.lock())
    }

    fn check_direct(&self, buf: &[u8], offset: usize) -> io::Result<()> {
        let aligned = |n: usize| n.is_multiple_of(SECTOR_BYTES);
        let whole = aligned(buf.as_ptr().addr()) && aligned(buf.len()) && aligned(offset);
        if self.mode == OpenMode::Direct && !whole {
            return Err(invalid("direct i/o takes whole sectors only"));
        }
        Ok(())
    }
}

impl File for SimFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let offset = to_usize(offset)?;
        self.check_direct(buf, offset)?;
        let mut state = self.handle.fs.state.lock();
        Ok(state.inode(self.handle.inode)?.read(buf, offset))
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        let offset = to_usize(offset)?;
        self.check_direct(buf, offset)?;
        let end = offset.checked_add(buf.len()).ok_or(Errno::FBIG)?;
        if buf.is_empty() {
            return Ok(0);
        }
        self.writing(|state| {
            let len = state.inode(self.handle.inode)?.len();
            state.check_room(len, end)?;
            let number = state.issue();
            let inode = state.inode(self.handle.inode)?;
            inode.write(number, offset, buf);
            Ok(buf.len())
        })
    }

    fn len(&self) -> io::Result<u64> {
        let mut state = self.handle.fs.state.lock();
        Ok(state.inode(self.handle.inode)?.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let new_len = to_usize(len)?;
        self.writing(|state| {
            let len = state.inode(self.handle.inode)?.len();
            state.check_room(len, new_len)?;
            let number = state.issue();
            state.inode(self.handle.inode)?.set_len(number, new_len)
        })
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        if len <= self.len()? {
            return self.writing(|_| Ok(()));
        }
        self.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.handle.fs.state.lock();
        if state.next_sync_fails() {
            state.inode(self.handle.inode)?.fail_sync();
            return Err(Errno::IO.into());
        }
        state.inode(self.handle.inode)?.sync();
        Ok(())
    }

    fn map(&self, len: usize) -> io::Result<Box<dyn SharedMap>> {
        if self.mode == OpenMode::Read {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let mut state = self.handle.fs.state.lock();
        let number = state.issue();
        let memory = state.inode(self.handle.inode)?.map(number, len)?;
        Ok(Box::new(SimMap { memory, len }))
    }

    fn advise_random(&self) {}
}

fn to_usize(n: u64) -> io::Result<usize> {
    usize::try_from(n).map_err(|_| Errno::FBIG.into())
}

#[derive(Debug)]
struct SimMap {
    memory: Arc<Memory>,
    len: usize,
}

impl SharedMap for SimMap {
    fn as_ptr(&self) -> *mut u8 {
        self.memory.as_ptr()
    }

    fn len(&self) -> usize {
        self.len
    }

    fn lock_in_memory(&self) -> bool {
        true
    }
}
