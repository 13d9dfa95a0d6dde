//! Writing a stream.

use std::io::{self, Write};

use xxhash_rust::xxh3::Xxh3;

use super::codec::{EntryHead, Trailer, head};

/// Whoever drops it without [`finish`](Self::finish) leaves a stream without a trailer, which nobody will take.
pub(crate) struct Writer<W> {
    to: W,
    entries: u64,
    bytes: u64,
    sum: Xxh3,
}

impl<W: Write> Writer<W> {
    pub(crate) fn new(to: W) -> io::Result<Self> {
        let mut writer = Self {
            to,
            entries: 0,
            bytes: 0,
            sum: Xxh3::new(),
        };
        writer.put(&head())?;
        Ok(writer)
    }

    /// # Errors
    /// `InvalidInput` for a key or a value that no cache holds.
    pub(crate) fn add(&mut self, key: &[u8], entry: &perennial::Entry) -> io::Result<()> {
        let too_long = |_| io::Error::from(io::ErrorKind::InvalidInput);
        let head = EntryHead {
            priority: entry.priority,
            key_bytes: u16::try_from(key.len()).map_err(too_long)?,
            value_bytes: u32::try_from(entry.value.len()).map_err(too_long)?,
            ends_at_s: entry.ends_at_s.unwrap_or(0),
        };
        let head = head.encode();
        let mut crc = crc32fast::Hasher::new();
        [&head[..], key, &entry.value]
            .iter()
            .for_each(|part| crc.update(part));
        self.put(&head)?;
        self.put(&crc.finalize().to_le_bytes())?;
        self.put(key)?;
        self.put(&entry.value)?;
        self.entries += 1;
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.to.write_all(bytes)?;
        self.sum.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    pub(crate) fn entries(&self) -> u64 {
        self.entries
    }

    /// Writes the trailer; how many bytes the stream has with it.
    pub(crate) fn finish(mut self) -> io::Result<u64> {
        let trailer = Trailer {
            entries: self.entries,
            bytes: self.bytes,
            xxh3: self.sum.digest(),
        };
        self.put(&trailer.encode())?;
        self.to.flush()?;
        Ok(self.bytes)
    }
}
