//! Memory that unbuffered I/O accepts.

const ALIGNMENT: usize = 4096;

/// Bytes whose first lies on a multiple of 4096.
#[derive(Debug)]
pub(crate) struct AlignedBuf {
    /// Never grows beyond the capacity that it was made with, so that nothing moves.
    bytes: Vec<u8>,
    start: usize,
    capacity: usize,
}

impl AlignedBuf {
    /// Room for so many bytes, none of which is there yet.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        let mut bytes: Vec<u8> = Vec::with_capacity(capacity + ALIGNMENT);
        let start = bytes.as_ptr().align_offset(ALIGNMENT);
        debug_assert!(start < ALIGNMENT);
        bytes.resize(start, 0);
        Self {
            bytes,
            start,
            capacity,
        }
    }

    pub(crate) fn zeroed(len: usize) -> Self {
        // From the allocator, which has large pieces of zeros for nothing.
        let mut bytes = vec![0; len + ALIGNMENT];
        let start = bytes.as_ptr().align_offset(ALIGNMENT);
        debug_assert!(start < ALIGNMENT);
        bytes.truncate(start + len);
        Self {
            bytes,
            start,
            capacity: len,
        }
    }

    /// A copy of `bytes`.
    pub(crate) fn copied_from(bytes: &[u8]) -> Self {
        let mut buf = Self::with_capacity(bytes.len());
        buf.push(bytes);
        buf
    }

    /// Appends `bytes`.
    ///
    /// # Panics
    /// When there is no room for them.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let len = self.len() + bytes.len();
        assert!(len <= self.capacity, "an aligned buffer never moves");
        self.bytes.extend_from_slice(bytes);
    }

    /// The same.
    ///
    /// # Panics
    /// When there is no room for them.
    #[inline]
    pub(crate) fn push_array<const N: usize>(&mut self, bytes: [u8; N]) {
        assert!(self.room() >= N, "an aligned buffer never moves");
        self.bytes.extend(bytes);
    }

    /// How many more there is room for.
    #[inline]
    pub(crate) fn room(&self) -> usize {
        self.capacity - self.len()
    }

    /// None is there any more.
    pub(crate) fn clear(&mut self) {
        self.bytes.truncate(self.start);
    }

    /// Appends zeros until there are `len` bytes.
    ///
    /// # Panics
    /// When there is no room for them.
    pub(crate) fn pad_to(&mut self, len: usize) {
        assert!(len <= self.capacity, "an aligned buffer never moves");
        self.bytes.resize(self.start + len, 0);
    }
}

impl std::ops::Deref for AlignedBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

impl std::ops::DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_is_aligned() {
        for len in [0, 1, 512, 70_000] {
            let buf = AlignedBuf::zeroed(len);
            assert_eq!((buf.as_ptr() as usize % ALIGNMENT, buf.len()), (0, len));
        }
        assert_eq!(&AlignedBuf::copied_from(b"abc")[..], b"abc");
    }

    #[test]
    fn bytes_are_appended_where_they_stay() {
        let mut buf = AlignedBuf::with_capacity(10_000);
        let first = buf.as_ptr();
        buf.push(&[7; 9_000]);
        buf.push(b"abc");
        assert_eq!(buf.len(), 9_003);
        buf.pad_to(10_000);
        assert_eq!((buf.as_ptr(), buf.len()), (first, 10_000));
        assert_eq!((buf[8_999], &buf[9_000..9_003]), (7, &b"abc"[..]));
        assert!(buf[9_003..].iter().all(|byte| *byte == 0));
    }

    #[test]
    #[should_panic(expected = "never moves")]
    fn more_than_there_is_room_for_is_refused() {
        AlignedBuf::with_capacity(10).push(&[0; 11]);
    }
}
