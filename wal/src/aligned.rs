//! Memory that unbuffered I/O accepts.

const ALIGNMENT: usize = 4096;

/// Bytes whose first lies on a multiple of 4096.
#[derive(Debug)]
pub(crate) struct AlignedBuf {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl AlignedBuf {
    pub(crate) fn zeroed(len: usize) -> Self {
        let bytes = vec![0; len + ALIGNMENT];
        let start = bytes.as_ptr().align_offset(ALIGNMENT);
        debug_assert!(start < ALIGNMENT);
        Self { bytes, start, len }
    }

    /// A copy of `bytes`.
    pub(crate) fn copied_from(bytes: &[u8]) -> Self {
        let mut buf = Self::zeroed(bytes.len());
        buf.copy_from_slice(bytes);
        buf
    }
}

impl std::ops::Deref for AlignedBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.len]
    }
}

impl std::ops::DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.len]
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
}
