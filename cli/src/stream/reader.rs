//! Reading a stream: each entry is proved before it is given, and the end of them only when the trailer agrees.

use std::io::{self, Read};

use xxhash_rust::xxh3::Xxh3;

use super::Entry;
use super::codec::{
    ENTRY, ENTRY_HEAD_BYTES, EntryHead, HEAD_BYTES, StreamError, TRAILER, TRAILER_REST_BYTES,
    Trailer, check_crc, check_head, u32_at,
};

pub(crate) struct Reader<R> {
    from: R,
    entries: u64,
    bytes: u64,
    sum: Xxh3,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl<R: Read> Reader<R> {
    /// Reads the head.
    pub(crate) fn new(from: R) -> Result<Self, ReadError> {
        let mut reader = Self {
            from,
            entries: 0,
            bytes: 0,
            sum: Xxh3::new(),
        };
        let mut head = [0; HEAD_BYTES];
        match reader.take(0, &mut head) {
            // What is shorter than a head is no part of a stream, either.
            Err(ReadError::Stream(_)) => return Err(StreamError::Foreign.into()),
            other => other?,
        }
        check_head(&head)?;
        Ok(reader)
    }

    /// Where the next part begins.
    pub(crate) fn offset(&self) -> u64 {
        self.bytes
    }

    /// The next entry. `None`: there are no more, and the checksum of the whole stream is right.
    pub(crate) fn next_entry(&mut self) -> Result<Option<Entry>, ReadError> {
        let at = self.bytes;
        let before = Trailer {
            entries: self.entries,
            bytes: at,
            xxh3: self.sum.digest(),
        };
        let mut kind = [0];
        self.take(at, &mut kind)?;
        match kind[0] {
            ENTRY => self.entry(at).map(Some),
            TRAILER => self.trailer(at, before).map(|()| None),
            _ => Err(StreamError::NoEntry { at }.into()),
        }
    }

    fn entry(&mut self, at: u64) -> Result<Entry, ReadError> {
        let mut bytes = [ENTRY; ENTRY_HEAD_BYTES];
        self.take(at, &mut bytes[1..])?;
        let head = EntryHead::decode(at, &bytes)?;
        let key = self.take_some(at, u64::from(head.key_bytes))?;
        let value = self.take_some(at, u64::from(head.value_bytes))?;
        let mut crc = crc32fast::Hasher::new();
        [&bytes[..12], &key, &value]
            .iter()
            .for_each(|part| crc.update(part));
        check_crc(at, u32_at(&bytes, 12), crc.finalize())?;
        self.entries += 1;
        Ok(Entry {
            key,
            value,
            priority: head.priority,
            ends_at_s: (head.ends_at_s != 0).then_some(head.ends_at_s),
        })
    }

    fn trailer(&mut self, at: u64, before: Trailer) -> Result<(), ReadError> {
        let mut rest = [0; TRAILER_REST_BYTES];
        self.take(at, &mut rest)?;
        before.check(at, &rest)?;
        let end = self.bytes;
        match self.take(end, &mut [0]) {
            Err(ReadError::Stream(StreamError::Truncated { .. })) => Ok(()),
            Ok(()) => Err(StreamError::Beyond { at: end }.into()),
            Err(error) => Err(error),
        }
    }

    /// All of it, or the part at `at` is cut off.
    fn take(&mut self, at: u64, into: &mut [u8]) -> Result<(), ReadError> {
        self.from.read_exact(into).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => StreamError::Truncated { at }.into(),
            _ => ReadError::Io(e),
        })?;
        self.count(into);
        Ok(())
    }

    /// As much memory as there are bytes, whatever the length says.
    fn take_some(&mut self, at: u64, len: u64) -> Result<Vec<u8>, ReadError> {
        let mut bytes = Vec::new();
        let read = self.from.by_ref().take(len).read_to_end(&mut bytes)?;
        if (read as u64) < len {
            return Err(StreamError::Truncated { at }.into());
        }
        self.count(&bytes);
        Ok(bytes)
    }

    fn count(&mut self, bytes: &[u8]) {
        self.sum.update(bytes);
        self.bytes += bytes.len() as u64;
    }
}
