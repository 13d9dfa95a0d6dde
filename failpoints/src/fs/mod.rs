//! Every system call the project makes, behind four narrow traits.
//!
//! Production uses [`StdFs`](std_fs::StdFs); tests use [`SimFs`](sim_fs::SimFs), which lives in memory and can
//! crash; [`FaultFs`](crate::FaultFs) wraps either and fails, shortens or kills at a chosen call.

mod barrier;
mod mapping;
pub mod sim_fs;
pub mod std_fs;

pub use barrier::{can_fence_all_threads, fence_all_threads};
pub use mapping::advise_large_pages;

#[cfg(test)]
mod conformance;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The operating system as the project sees it: directories, free space, time, randomness, the boot's identity.
pub trait Fs: fmt::Debug + Send + Sync {
    /// Creates `path` and its missing parents and makes their names durable; an existing directory is fine.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;

    /// Opens an existing directory.
    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn Dir>>;

    /// Bytes that can still be allocated on the file system that holds `path`.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;

    /// An identity that changes when the machine restarts and at no other time; `None` where it cannot be told.
    fn boot_id(&self) -> Option<[u8; 16]>;

    /// An unpredictable number (simulation: from its seed).
    fn random_u64(&self) -> u64;

    /// Wall clock, milliseconds since 1970. May jump; nothing durable or ordered rests on it.
    fn unix_time_ms(&self) -> u64;

    /// Monotonic clock in nanoseconds from an arbitrary start.
    fn monotonic_ns(&self) -> u64;
}

/// One open directory. Names are single components.
pub trait Dir: fmt::Debug + Send + Sync {
    /// Where the directory is, for messages.
    fn path(&self) -> &Path;

    /// The regular files in it (no directories), in no order.
    fn list(&self) -> io::Result<Vec<DirEntry>>;

    /// True when the directory holds something that is not a regular file (a directory, a link, a device).
    fn has_other_entries(&self) -> io::Result<bool>;

    /// Opens or creates a file.
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn File>>;

    /// Renames within the directory, replacing `to`. Durable after [`Dir::sync`].
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file's name. Durable after [`Dir::sync`].
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes the names in this directory durable.
    fn sync(&self) -> io::Result<()>;

    /// Takes the exclusive advisory lock on `name`, creating the file where it is missing. One that is there need not be
    /// writable. `None`: another process (or another handle of this one) holds it. Dropping the guard, or the process's end, releases it.
    fn try_lock(&self, name: &str) -> io::Result<Option<Box<dyn LockGuard>>>;
}

/// Holds a lock taken by [`Dir::try_lock`] until dropped.
pub trait LockGuard: fmt::Debug + Send + Sync {}

/// One regular file of a listing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// The file's name.
    pub name: String,
    /// Its size in bytes.
    pub len: u64,
}

/// How [`Dir::open`] opens a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// Existing file, reads only.
    Read,
    /// Existing file, reads and writes through the page cache.
    ReadWrite,
    /// Existing file, writes (and reads) that bypass the page cache (`O_DIRECT`). Offset, length and memory address
    /// must be multiples of the device's sector. Refused with `InvalidInput` where the file system cannot.
    Direct,
    /// New file for reading and writing; `AlreadyExists` if the name is taken.
    CreateNew,
}

/// One open file. All methods take `&self`: positions are explicit.
pub trait File: fmt::Debug + Send + Sync {
    /// Reads at `offset`; may be short; 0 at the end.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Reads at most `len` bytes at `offset` and appends them to `buf`, as many as [`read_at`](Self::read_at) would give;
    /// 0 at the end. The system's own files need no zeros in the buffer first.
    fn read_append(&self, buf: &mut Vec<u8>, len: usize, offset: u64) -> io::Result<usize> {
        let begin = buf.len();
        buf.resize(begin + len, 0);
        let read = self.read_at(&mut buf[begin..], offset);
        buf.truncate(begin + *read.as_ref().unwrap_or(&0));
        read
    }

    /// Writes at `offset`; may be short.
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize>;

    /// Writes `head` at `offset` and `rest` right behind it; may be short, and is where there is no one call for both.
    fn write_two_at(&self, head: &[u8], rest: &[u8], offset: u64) -> io::Result<usize> {
        let first = if head.is_empty() { rest } else { head };
        self.write_at(first, offset)
    }

    /// The file's size in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Cuts or extends with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Reserves real space for `[0, len)` and extends the size to it (`fallocate`); never shrinks. Where the file
    /// system cannot reserve, extends by writing zeros, so that a full disk shows here and not later.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Makes data and size durable (`fdatasync`). After an error nothing may be assumed and nothing retried.
    fn sync_data(&self) -> io::Result<()>;

    /// Maps `[0, len)` shared with every other opener and with the file. The file must be at least that long.
    fn map(&self, len: usize) -> io::Result<Box<dyn SharedMap>>;

    /// Tells the kernel that reads come in no order: no read-ahead. Best effort.
    fn advise_random(&self);

    /// True for an empty file.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// Memory shared with a file: what is stored here is the kernel's, and outlives the process.
pub trait SharedMap: fmt::Debug + Send + Sync {
    /// The first byte; aligned to 4096; valid for [`SharedMap::len`] bytes until the map is dropped.
    /// Who writes through it takes care that no two threads touch the same bytes without synchronisation.
    fn as_ptr(&self) -> *mut u8;

    /// Length in bytes.
    fn len(&self) -> usize;

    /// True for a map of no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Keeps the memory resident (`mlock`). False where the limits forbid it.
    fn lock_in_memory(&self) -> bool;
}

/// Reads exactly `buf.len()` bytes, going on after short reads and interruptions.
///
/// # Errors
/// `UnexpectedEof` when the file ends before; what the file reports otherwise.
pub fn read_exact_at(file: &dyn File, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buf.is_empty() {
        match file.read_at(buf, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                buf = &mut buf[n..];
                offset += n as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Writes all of `buf`, going on after short writes and interruptions.
///
/// After a short write it goes on from the last multiple of `sector` (a power of two), so that the rest of an
/// unbuffered write stays aligned; pass 1 for a buffered file.
///
/// # Errors
/// `WriteZero` when the file takes nothing; what the file reports otherwise.
pub fn write_all_at(file: &dyn File, buf: &[u8], offset: u64, sector: usize) -> io::Result<()> {
    debug_assert!(sector.is_power_of_two());
    let mut done = 0;
    let mut furthest = 0;
    while done < buf.len() {
        match file.write_at(&buf[done..], offset + done as u64) {
            Ok(n) => {
                let reached = done + n;
                if reached == buf.len() {
                    return Ok(());
                }
                let next = reached & !(sector - 1);
                if next <= furthest && reached <= furthest {
                    return Err(io::ErrorKind::WriteZero.into());
                }
                furthest = reached;
                done = next;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Writes all of `head` at `offset` and all of `rest` right behind it, as [`write_all_at`] would: with one call where the system
/// has one and takes it all. `head` is whole sectors.
///
/// # Errors
/// As [`write_all_at`].
pub fn write_all_two_at(
    file: &dyn File,
    head: &[u8],
    rest: &[u8],
    offset: u64,
    sector: usize,
) -> io::Result<()> {
    debug_assert!(head.len().is_multiple_of(sector));
    let reached = loop {
        match file.write_two_at(head, rest, offset) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            reached => break reached?,
        }
    };
    if reached == head.len() + rest.len() {
        return Ok(());
    }
    let done = reached & !(sector - 1);
    let (of_head, of_rest) = (done.min(head.len()), done.saturating_sub(head.len()));
    write_all_at(file, &head[of_head..], offset + of_head as u64, sector)?;
    let behind = offset + (head.len() + of_rest) as u64;
    write_all_at(file, &rest[of_rest..], behind, sector)
}

/// Names are single components: anything else would leave the directory.
pub(crate) fn check_name(name: &str) -> io::Result<()> {
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
        return Err(invalid("not a file name"));
    }
    Ok(())
}

pub(crate) fn invalid(message: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}
