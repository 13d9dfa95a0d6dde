//! Where objects come from.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::blocks::request::ReadOptions;

/// Asks whose answers do not agree with each other before an origin is given up.
const HEADS: usize = 8;

/// Which content of an object: an `ETag`, a generation, size and time of the last change. Opaque; compared whole.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Version(Arc<[u8]>);

impl Version {
    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for Version {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl From<&str> for Version {
    fn from(text: &str) -> Self {
        text.as_bytes().into()
    }
}

impl From<String> for Version {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl From<u64> for Version {
    /// The number's eight bytes, little-endian.
    fn from(number: u64) -> Self {
        number.to_le_bytes().as_slice().into()
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Version({})", self.0.escape_ascii())
    }
}

/// What is known of an object without reading it. Two are equal when version and length are.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Head {
    /// Which content.
    pub version: Version,
    /// Its length in bytes.
    pub len: u64,
    /// What else the origin says of it, for whoever asks through the [`BlockCache`](crate::blocks::BlockCache): it is
    /// remembered with the others and decides nothing. At most 4 KiB are worth remembering.
    pub about: Bytes,
}

impl Head {
    /// Version and length, and nothing about it.
    #[must_use]
    pub fn new(version: impl Into<Version>, len: u64) -> Self {
        Self {
            version: version.into(),
            len,
            about: Bytes::new(),
        }
    }

    /// The same, with what else the origin says.
    #[must_use]
    pub fn about(mut self, about: impl Into<Bytes>) -> Self {
        self.about = about.into();
        self
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        (&self.version, self.len) == (&other.version, other.len)
    }
}

impl Eq for Head {}

/// What an origin answers to the first question about an object.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Opened {
    /// Version and length.
    pub head: Head,
    /// Where the bytes begin in the object.
    pub offset: u64,
    /// Bytes of the head's version; may be none. Blocks that are not whole among them are fetched as if they were not there.
    pub bytes: Bytes,
}

impl Opened {
    /// With the object's bytes from `offset` on.
    #[must_use]
    pub fn new(head: Head, offset: u64, bytes: impl Into<Bytes>) -> Self {
        Self {
            head,
            offset,
            bytes: bytes.into(),
        }
    }
}

impl From<Head> for Opened {
    /// No bytes with it.
    fn from(head: Head) -> Self {
        Self::new(head, 0, Bytes::new())
    }
}

/// Why an origin does not answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum OriginError {
    /// The object has another version than the one asked for: its version is asked for again.
    Changed,
    /// It failed.
    Failed(Box<dyn std::error::Error + Send + Sync>),
}

impl<E: Into<Box<dyn std::error::Error + Send + Sync>>> From<E> for OriginError {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// An origin's result. `?` makes any error an [`OriginError::Failed`].
pub type OriginResult<T> = Result<T, OriginError>;

/// Where objects come from: slow, and immutable by version.
///
/// It is called by several threads at once, up to [`BlockOptions::fetch_threads`](crate::blocks::BlockOptions::fetch_threads) of them
/// and, with none, by the readers. A panic is taken for a failure of that call. It must not read through the `BlockCache` that
/// it is the origin of.
pub trait Origin: Send + Sync {
    /// What tells this origin from all others whose blocks lie in the same cache: an address, say, with whatever else decides
    /// what the names of objects mean. It is asked once, when the `BlockCache` is made; blocks that were stored under
    /// another identity are never served. At most 16 KiB.
    fn identity(&self) -> String;

    /// The object's version now. A version that was replaced must not come back with other bytes.
    ///
    /// # Errors
    /// Whatever the origin has to say.
    fn version(&self, object: &str) -> OriginResult<Version>;

    /// The object's length now, in bytes.
    ///
    /// # Errors
    /// Whatever the origin has to say.
    fn len(&self, object: &str) -> OriginResult<u64>;

    /// Version and length of the same moment. As it stands the version is asked before and after the length, until both
    /// agree; an origin that has both in one answer gives that instead.
    ///
    /// # Errors
    /// As the two; [`OriginError::Changed`] where they never agree.
    fn head(&self, object: &str) -> OriginResult<Head> {
        let mut version = self.version(object)?;
        for _ in 0..HEADS {
            let len = self.len(object)?;
            let after = self.version(object)?;
            if after == version {
                return Ok(Head::new(version, len));
            }
            version = after;
        }
        Err(OriginError::Changed)
    }

    /// Version and length, and the bytes of `range` if they cost no second question: the first read of an object is one round
    /// trip then. The range is one of whole blocks, may go past the object's end, and may begin there. It is asked only of objects of which nothing is
    /// known, where [`BlockOptions::remember_heads`](crate::blocks::BlockOptions::remember_heads) says so. Default: [`head`](Self::head), and
    /// no bytes.
    ///
    /// # Errors
    /// As [`head`](Self::head).
    fn open_at(
        &self,
        object: &str,
        range: Range<u64>,
        options: &ReadOptions,
    ) -> OriginResult<Opened> {
        let _ = (range, options);
        Ok(self.head(object)?.into())
    }

    /// True when [`read_at`](Self::read_at) answers [`OriginError::Changed`] unless all bytes are of the version asked for, as one does
    /// that sends `If-Match` or compares the `ETag` that comes with the bytes. Else the version is asked for again behind each read.
    /// Default: false.
    fn checks_version(&self) -> bool {
        false
    }

    /// Reads the object's bytes from `offset` on into `buf`, and says how many. `options` are those of the read that asked first,
    /// so its priority can be passed on; the range is one of whole blocks, cut at the object's length.
    ///
    /// Fewer bytes than asked for are a failure of the blocks that are not whole.
    ///
    /// # Errors
    /// [`OriginError::Changed`], or whatever the origin has to say.
    fn read_at(
        &self,
        object: &str,
        version: &Version,
        offset: u64,
        buf: &mut [u8],
        options: &ReadOptions,
    ) -> OriginResult<usize>;
}

impl<O: Origin + ?Sized> Origin for Arc<O> {
    fn identity(&self) -> String {
        (**self).identity()
    }

    fn version(&self, object: &str) -> OriginResult<Version> {
        (**self).version(object)
    }

    fn len(&self, object: &str) -> OriginResult<u64> {
        (**self).len(object)
    }

    fn head(&self, object: &str) -> OriginResult<Head> {
        (**self).head(object)
    }

    fn open_at(
        &self,
        object: &str,
        range: Range<u64>,
        options: &ReadOptions,
    ) -> OriginResult<Opened> {
        (**self).open_at(object, range, options)
    }

    fn checks_version(&self) -> bool {
        (**self).checks_version()
    }

    fn read_at(
        &self,
        object: &str,
        version: &Version,
        offset: u64,
        buf: &mut [u8],
        options: &ReadOptions,
    ) -> OriginResult<usize> {
        (**self).read_at(object, version, offset, buf, options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::{AtomicU64, Ordering};

    /// Changes at each question, so many times.
    struct Restless(AtomicU64, u64);

    impl Origin for Restless {
        fn identity(&self) -> String {
            "restless".into()
        }
        fn version(&self, _: &str) -> OriginResult<Version> {
            let asked = self.0.fetch_add(1, Ordering::Relaxed);
            Ok(asked.min(self.1).into())
        }
        fn len(&self, _: &str) -> OriginResult<u64> {
            Ok(self.0.load(Ordering::Relaxed))
        }
        fn read_at(
            &self,
            _: &str,
            _: &Version,
            _: u64,
            _: &mut [u8],
            _: &ReadOptions,
        ) -> OriginResult<usize> {
            Err("it cannot be read".into())
        }
    }

    #[test]
    fn version_and_length_are_of_the_same_moment() {
        let head = Restless(AtomicU64::new(0), 3).head("o");
        let head = head.expect("it comes to rest");
        assert_eq!((head.version, head.len), (3.into(), 4));
        let restless = Restless(AtomicU64::new(0), u64::MAX);
        assert!(matches!(restless.head("o"), Err(OriginError::Changed)));
    }
}
