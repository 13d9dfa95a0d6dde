//! [`StdFs`]: the operating system itself.
#![expect(
    clippy::disallowed_methods,
    reason = "this is the file the trait hides them in"
)]

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime};

use rustix::buffer::spare_capacity;
use rustix::fs::{self as sys, Advice, AtFlags, FallocateFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::mapping::Mapping;
use super::{Dir, DirEntry, File, Fs, LockGuard, OpenMode, SharedMap};

/// Zeros are written in pieces of this size where space cannot be reserved.
const ZEROS_BYTES: usize = 1 << 20;

/// The file system, clocks and randomness of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct StdFs;

impl Fs for StdFs {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        if path.as_os_str().is_empty() || path.is_dir() {
            return Ok(());
        }
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        self.create_dir_all(parent)?;
        match sys::mkdir(path, Mode::from_raw_mode(0o777)) {
            // Someone else may have made it a moment ago and not synced it yet: sync in both cases.
            Err(Errno::EXIST) if path.is_dir() => {}
            other => other?,
        }
        Ok(sys::fsync(open_dir_fd(parent)?)?)
    }

    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn Dir>> {
        Ok(Arc::new(StdDir {
            fd: open_dir_fd(path)?,
            path: path.to_path_buf(),
        }))
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let stat = sys::statvfs(path)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn boot_id(&self) -> Option<[u8; 16]> {
        parse_uuid(&std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?)
    }

    fn random_u64(&self) -> u64 {
        // Keyed by the operating system's randomness; each call has its own key.
        RandomState::new().build_hasher().finish()
    }

    fn unix_time_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        since.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
    }

    fn monotonic_ns(&self) -> u64 {
        static START: OnceLock<Instant> = OnceLock::new();
        let elapsed = START.get_or_init(Instant::now).elapsed();
        u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
    }
}

fn open_dir_fd(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(sys::open(path, flags, Mode::empty())?)
}

/// The sixteen bytes of a UUID's hex digits.
fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let mut id = [0; 16];
    let mut digits = text.trim().chars().filter(|c| *c != '-');
    for byte in &mut id {
        let high = digits.next()?.to_digit(16)?;
        let low = digits.next()?.to_digit(16)?;
        *byte = u8::try_from(high << 4 | low).ok()?;
    }
    digits.next().is_none().then_some(id)
}

#[derive(Debug)]
struct StdDir {
    fd: OwnedFd,
    path: PathBuf,
}

impl StdDir {
    /// Calls `visit` with the name, type and size of everything but `.` and `..`.
    fn each_entry(&self, mut visit: impl FnMut(&str, FileType, u64)) -> io::Result<()> {
        for entry in sys::Dir::read_from(&self.fd)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let stat = match sys::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
                // Removed between the listing and here.
                Err(Errno::NOENT) => continue,
                other => other?,
            };
            let kind = FileType::from_raw_mode(stat.st_mode);
            let len = u64::try_from(stat.st_size).unwrap_or(0);
            visit(&name.to_string_lossy(), kind, len);
        }
        Ok(())
    }
}

impl Dir for StdDir {
    fn path(&self) -> &Path {
        &self.path
    }

    fn list(&self) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        self.each_entry(|name, kind, len| {
            if kind == FileType::RegularFile {
                let name = name.to_owned();
                entries.push(DirEntry { name, len });
            }
        })?;
        Ok(entries)
    }

    fn has_other_entries(&self) -> io::Result<bool> {
        let mut others = false;
        self.each_entry(|_, kind, _| others |= kind != FileType::RegularFile)?;
        Ok(others)
    }

    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        super::check_name(name)?;
        let flags = match mode {
            OpenMode::Read => OFlags::RDONLY,
            OpenMode::ReadWrite => OFlags::RDWR,
            OpenMode::Direct => OFlags::RDWR | OFlags::DIRECT,
            OpenMode::CreateNew => OFlags::RDWR | OFlags::CREATE | OFlags::EXCL,
        };
        let fd = sys::openat(&self.fd, name, flags | OFlags::CLOEXEC, FILE_MODE)?;
        Ok(Arc::new(StdFile { fd }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        super::check_name(from)?;
        super::check_name(to)?;
        Ok(sys::renameat(&self.fd, from, &self.fd, to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        super::check_name(name)?;
        Ok(sys::unlinkat(&self.fd, name, AtFlags::empty())?)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(sys::fsync(&self.fd)?)
    }

    fn try_lock(&self, name: &str) -> io::Result<Option<Box<dyn LockGuard>>> {
        super::check_name(name)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
        let fd = match sys::openat(&self.fd, name, flags, FILE_MODE) {
            // A lock that is there already asks for no right to write, and who only reads may have none.
            Err(error @ (Errno::ROFS | Errno::ACCESS)) => {
                let read = OFlags::RDONLY | OFlags::CLOEXEC;
                // Where there is none, the first error says why there can be none.
                sys::openat(&self.fd, name, read, FILE_MODE).map_err(|_| error)?
            }
            other => other?,
        };
        let file = std::fs::File::from(fd);
        // By path: std has a method of this name with another meaning of its result.
        match fs2::FileExt::try_lock_exclusive(&file) {
            Ok(()) => Ok(Some(Box::new(StdLock { file }))),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(e) => Err(e),
        }
    }
}

/// What new files may be used for, before the process's umask.
const FILE_MODE: Mode = Mode::from_raw_mode(0o666);

/// The end of the process releases the lock. While it lives, closing the file is not enough: a child that another thread
/// is just starting holds a copy of the handle until it is a program of its own.
#[derive(Debug)]
struct StdLock {
    file: std::fs::File,
}

impl Drop for StdLock {
    fn drop(&mut self) {
        // What cannot be unlocked is released with the last handle.
        let _ = fs2::FileExt::unlock(&self.file);
    }
}

impl LockGuard for StdLock {}

#[derive(Debug)]
struct StdFile {
    fd: OwnedFd,
}

impl StdFile {
    /// Extends to `len` by writing zeros, so that the space is taken now.
    fn extend_with_zeros(&self, len: u64) -> io::Result<()> {
        let mut at = self.len()?;
        let zeros = vec![0; ZEROS_BYTES];
        while at < len {
            let piece = usize::try_from(len - at).map_or(ZEROS_BYTES, |n| n.min(ZEROS_BYTES));
            super::write_all_at(self, &zeros[..piece], at, 1)?;
            at += piece as u64;
        }
        Ok(())
    }
}

impl File for StdFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        Ok(rustix::io::pread(&self.fd, buf, offset)?)
    }

    fn read_append(&self, buf: &mut Vec<u8>, len: usize, offset: u64) -> io::Result<usize> {
        if len == 0 {
            return Ok(0);
        }
        let begin = buf.len();
        buf.reserve_exact(len);
        // There may be room for more than was asked for.
        let read = rustix::io::pread(&self.fd, spare_capacity(buf), offset)?.min(len);
        buf.truncate(begin + read);
        Ok(read)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        Ok(rustix::io::pwrite(&self.fd, buf, offset)?)
    }

    fn write_two_at(&self, head: &[u8], rest: &[u8], offset: u64) -> io::Result<usize> {
        let both = [io::IoSlice::new(head), io::IoSlice::new(rest)];
        Ok(rustix::io::pwritev(&self.fd, &both, offset)?)
    }

    fn len(&self) -> io::Result<u64> {
        let size = sys::fstat(&self.fd)?.st_size;
        u64::try_from(size).map_err(io::Error::other)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        Ok(rustix::io::retry_on_intr(|| sys::ftruncate(&self.fd, len))?)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        if len == 0 {
            return Ok(());
        }
        let reserve = || sys::fallocate(&self.fd, FallocateFlags::empty(), 0, len);
        match rustix::io::retry_on_intr(reserve) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.extend_with_zeros(len),
            other => Ok(other?),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(sys::fdatasync(&self.fd)?)
    }

    fn map(&self, len: usize) -> io::Result<Box<dyn SharedMap>> {
        if self.len()? < len as u64 {
            return Err(super::invalid("a map longer than the file"));
        }
        Ok(Box::new(Mapping::new(self.fd.as_fd(), len)?))
    }

    fn advise_random(&self) {
        // Best effort: a file system without read-ahead may refuse.
        let _ = sys::fadvise(&self.fd, 0, None, Advice::Random);
    }
}

#[cfg(test)]
mod tests;
