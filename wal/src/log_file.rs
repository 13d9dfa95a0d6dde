//! The file that says that a directory is a log's.
//!
//! ```text
//!  byte  0       8         12    16   24              32           40
//!       | magic | version | crc | id | segment bytes | ring bytes |
//! ```

use perennial_failpoints::fs::{Dir, Fs, OpenMode, read_exact_at, write_all_at};

use crate::error::{Result, WalError};
use crate::frame::{u32_at, u64_at};
use crate::geometry::Geometry;

/// What the file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogFile {
    pub(crate) id: u64,
    pub(crate) segment_bytes: u64,
    pub(crate) ring_bytes: u64,
}

const LOG_FILE: &str = "log";
const LOG_FILE_NEW: &str = "log.new";
const LOG_MAGIC: &[u8; 8] = b"PRNLWAL\0";
const LOG_FILE_BYTES: usize = 40;

impl LogFile {
    fn encode(&self) -> [u8; LOG_FILE_BYTES] {
        let mut bytes = [0; LOG_FILE_BYTES];
        bytes[..8].copy_from_slice(LOG_MAGIC);
        bytes[8..12].copy_from_slice(&1_u32.to_le_bytes());
        for (i, word) in [self.id, self.segment_bytes, self.ring_bytes]
            .into_iter()
            .enumerate()
        {
            bytes[16 + i * 8..24 + i * 8].copy_from_slice(&word.to_le_bytes());
        }
        let crc = crc32fast::hash(&bytes[16..]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; LOG_FILE_BYTES]) -> Option<Self> {
        let good = &bytes[..8] == LOG_MAGIC
            && u32_at(bytes, 8) == 1
            && u32_at(bytes, 12) == crc32fast::hash(&bytes[16..]);
        let file = Self {
            id: u64_at(bytes, 16),
            segment_bytes: u64_at(bytes, 24),
            ring_bytes: u64_at(bytes, 32),
        };
        (good && Geometry::is_segment_size(file.segment_bytes)).then_some(file)
    }

    /// Reads the file, or makes it in a directory that holds nothing else.
    pub(crate) fn read_or_create(
        dir: &dyn Dir,
        geometry: Geometry,
        ring_bytes: u64,
        fs: &dyn Fs,
    ) -> Result<Self> {
        let shown = dir.path().display().to_string();
        let failed = |op, source| WalError::io(op, shown.clone(), 0, source);
        let names = dir.list().map_err(|e| failed("list", e))?;
        if names.iter().any(|entry| entry.name == LOG_FILE) {
            let mut bytes = [0; LOG_FILE_BYTES];
            let file = dir
                .open(LOG_FILE, OpenMode::Read)
                .map_err(|e| failed("open", e))?;
            let read = read_exact_at(&*file, &mut bytes, 0)
                .ok()
                .and_then(|()| Self::decode(&bytes));
            return read
                .ok_or_else(|| WalError::Foreign(format!("{shown}/{LOG_FILE} is not a log's")));
        }
        if names
            .iter()
            .any(|entry| !["LOCK", LOG_FILE_NEW].contains(&entry.name.as_str()))
        {
            return Err(WalError::Foreign(format!(
                "{shown} holds something that is not a log; choose another"
            )));
        }
        let made = Self {
            id: fs.random_u64() | 1,
            segment_bytes: geometry.segment_bytes,
            ring_bytes,
        };
        made.write(dir).map_err(|e| failed("create", e))?;
        Ok(made)
    }

    /// Under a new name, synced, then renamed: a process killed on the way leaves a directory that opens.
    fn write(&self, dir: &dyn Dir) -> std::io::Result<()> {
        match dir.remove(LOG_FILE_NEW) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let file = dir.open(LOG_FILE_NEW, OpenMode::CreateNew)?;
        write_all_at(&*file, &self.encode(), 0, 1)?;
        file.sync_data()?;
        dir.rename(LOG_FILE_NEW, LOG_FILE)?;
        dir.sync()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: LogFile = LogFile {
        id: 77,
        segment_bytes: 8192,
        ring_bytes: 4096,
    };

    #[test]
    fn the_file_comes_back_and_every_flipped_bit_is_refused() {
        let bytes = FILE.encode();
        assert_eq!(LogFile::decode(&bytes), Some(FILE));
        for bit in (0..LOG_FILE_BYTES * 8).step_by(crate::STEP) {
            let mut bad = bytes;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(LogFile::decode(&bad), None, "bit {bit}");
        }
    }

    #[test]
    fn every_truncated_prefix_is_refused() {
        use std::path::Path;

        use perennial_failpoints::SimFs;

        for len in (0..LOG_FILE_BYTES).step_by(crate::STEP) {
            let fs = SimFs::new(1);
            fs.write_file(Path::new("/log/log"), &FILE.encode()[..len]);
            let dir = fs.open_dir(Path::new("/log")).unwrap();
            let read = LogFile::read_or_create(&*dir, Geometry::of(8192), 4096, &fs);
            assert!(matches!(read, Err(WalError::Foreign(_))), "{len} bytes");
        }
    }
}
