//! Bytes on the disk, and on their way to it.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Advice, fadvise, major, minor};

use crate::failure::{Failure, Result};

/// `/proc/diskstats` counts these, whatever the device's own are.
const SECTOR_BYTES: u64 = 512;

/// Bytes that the device below `dir` has been told to write, by anybody.
pub(crate) fn device_written(dir: &Path) -> Result<u64> {
    let device = fs::metadata(dir)?.dev();
    let stats = fs::read_to_string("/proc/diskstats")?;
    sectors_written(&stats, major(device), minor(device))
        .map(|sectors| sectors * SECTOR_BYTES)
        .ok_or_else(|| {
            Failure::new(format!(
                "/proc/diskstats does not know the device of {}",
                dir.display()
            ))
        })
}

fn sectors_written(stats: &str, major: u32, minor: u32) -> Option<u64> {
    stats.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_it = fields.first()?.parse() == Ok(major) && fields.get(1)?.parse() == Ok(minor);
        is_it.then(|| fields.get(9)?.parse().ok())?
    })
}

/// Bytes that this process has sent to any device, or made dirty in the page cache.
pub(crate) fn process_written() -> Result<u64> {
    let io = fs::read_to_string("/proc/self/io")?;
    field(&io, "write_bytes").ok_or_else(|| Failure::new("/proc/self/io has no write_bytes"))
}

/// Calls that read, of this process so far.
pub(crate) fn process_reads() -> Result<u64> {
    let io = fs::read_to_string("/proc/self/io")?;
    field(&io, "syscr").ok_or_else(|| Failure::new("/proc/self/io has no syscr"))
}

fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        line.strip_prefix(name)?
            .strip_prefix(": ")?
            .trim()
            .parse()
            .ok()
    })
}

/// Bytes that the files below `dir` take, as `du` counts them.
pub(crate) fn used(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    walk(dir, &mut |path| {
        bytes += fs::metadata(path).map_or(0, |data| data.blocks() * SECTOR_BYTES);
        Ok(())
    })?;
    Ok(bytes)
}

/// Makes the kernel forget the contents of all files below `dir`, once they are written.
pub(crate) fn forget(dir: &Path) -> Result<()> {
    rustix::fs::syncfs(File::open(dir)?)?;
    walk(dir, &mut |path| {
        let file = match File::open(path) {
            // A store that is open may have removed it since it was listed.
            Err(gone) if gone.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            opened => opened?,
        };
        Ok(fadvise(&file, 0, None, Advice::DontNeed)?)
    })
}

fn walk(dir: &Path, each: &mut dyn FnMut(&Path) -> Result<()>) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, each)?;
        } else {
            each(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sectors_are_those_of_the_device() {
        let stats =
            " 253 0 vda 11 12 13 14 15 16 17 18 19 20 21\n 253 1 vda1 1 2 3 4 5 6 777 8 9 10 11\n";
        assert_eq!(sectors_written(stats, 253, 0), Some(17));
        assert_eq!(sectors_written(stats, 253, 1), Some(777));
        assert_eq!(sectors_written(stats, 8, 0), None);
    }

    #[test]
    fn fields_have_names() {
        let io = "wchar: 5\nwrite_bytes: 4096\ncancelled_write_bytes: 7\n";
        assert_eq!(field(io, "write_bytes"), Some(4096));
        assert_eq!(field(io, "read_bytes"), None);
    }

    #[test]
    fn a_written_file_is_used_space() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("below")).unwrap();
        fs::write(dir.path().join("below/file"), vec![1; 100_000]).unwrap();
        forget(dir.path()).unwrap();
        assert!(used(dir.path()).unwrap() >= 98_304);
    }
}
