//! Memory that unbuffered I/O takes.

/// What `O_DIRECT` wants of memory, offsets and lengths, on any device of today.
pub(super) const ALIGNMENT: usize = 4096;

/// Bytes that begin at a multiple of [`ALIGNMENT`].
pub(super) struct Aligned {
    bytes: Vec<u8>,
    begin: usize,
    len: usize,
}

impl Aligned {
    pub(super) fn new(len: usize) -> Self {
        let bytes = vec![0x5a; len + ALIGNMENT];
        let begin = bytes.as_ptr().align_offset(ALIGNMENT);
        Self { bytes, begin, len }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self) -> &[u8] {
        &self.bytes[self.begin..self.begin + self.len]
    }

    pub(super) fn get_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.begin..self.begin + self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_aligned() {
        for len in [4096, 8192, 1 << 20] {
            let mut memory = Aligned::new(len);
            assert_eq!(memory.get().as_ptr().addr() % ALIGNMENT, 0);
            assert_eq!(
                (memory.get().len(), memory.get_mut().len(), memory.len()),
                (len, len, len)
            );
        }
    }
}
