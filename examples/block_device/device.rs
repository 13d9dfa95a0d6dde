//! A read-only block device: sectors, or any bytes, of one version of an image.

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::{ControlFlow, Range};

use perennial::blocks::{BlockCache, Head, Progress, ReadOptions};

/// For whatever reads and seeks, a file-system reader for instance.
pub(crate) struct BlockDevice {
    blocks: BlockCache,
    object: String,
    /// All reads are of this version: an image that is replaced is an error, never a mixture of two.
    head: Head,
    sector_bytes: u64,
    /// Of the next `Read::read`.
    position: u64,
}

impl BlockDevice {
    /// Reads the first sector, and with it the version and the length: nothing is asked twice.
    pub(crate) fn open(blocks: BlockCache, object: &str, sector_bytes: u64) -> io::Result<Self> {
        let mut first = match sector_bytes {
            512 => vec![0; 512],
            4096 => vec![0; 4096],
            _ => return Err(invalid("a sector has 512 or 4096 bytes")),
        };
        let head = blocks
            .read_at(object, 0, &mut first, &ReadOptions::new())
            .map_err(io::Error::other)?;
        Ok(Self {
            blocks,
            object: object.to_owned(),
            head,
            sector_bytes,
            position: 0,
        })
    }

    /// Bytes of the image.
    pub(crate) fn len(&self) -> u64 {
        self.head.len
    }

    /// Whole sectors of the image.
    pub(crate) fn sectors(&self) -> u64 {
        self.len() / self.sector_bytes
    }

    /// Whole sectors, from number `lba` on.
    pub(crate) fn read_sectors(&self, lba: u64, buf: &mut [u8]) -> io::Result<()> {
        if !(buf.len() as u64).is_multiple_of(self.sector_bytes) {
            return Err(invalid("the buffer is not one of whole sectors"));
        }
        let offset = lba
            .checked_mul(self.sector_bytes)
            .ok_or_else(|| invalid("there is no such sector"))?;
        self.read_at(offset, buf)
    }

    /// Any bytes, aligned to nothing.
    pub(crate) fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.blocks
            .read_version_at(&self.object, &self.head, offset, buf, &ReadOptions::new())
            .map_err(io::Error::other)
    }

    /// Has these bytes fetched and kept.
    pub(crate) fn ensure_cached(
        &self,
        range: Range<u64>,
        progress: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> io::Result<Progress> {
        self.blocks
            .ensure_cached(&self.object, range, &ReadOptions::new(), progress)
            .map_err(io::Error::other)
    }
}

impl Read for BlockDevice {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = self.len().saturating_sub(self.position);
        let bytes = usize::try_from(left).map_or(buf.len(), |left| left.min(buf.len()));
        self.read_at(self.position.min(self.len()), &mut buf[..bytes])?;
        self.position += bytes as u64;
        Ok(bytes)
    }
}

impl Seek for BlockDevice {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.len().checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position =
            position.ok_or_else(|| invalid("there is nothing before the first byte"))?;
        Ok(self.position)
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}
