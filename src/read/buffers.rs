//! Memory that entries are read into, used again.
//!
//! ```text
//!   take ─► read ─► shared: a value ─► its last clone is dropped ─► spares: of the thread up to 32 KiB, larger ones of the process
//!     └──────────────────────────────────────────────────────────────┘
//! ```
//! glibc's allocator searches its heap for every piece above a kilobyte, and has large ones from the kernel, which clears them page
//! by page each time. What was read into last is also what lies in the processor's cache. Reads ask for the bounds of size
//! classes, so a spare of the right size is mostly one of exactly that size.

use std::cell::RefCell;

use bytes::Bytes;
use parking_lot::Mutex;

/// Shorter ones are what allocators are good at.
const LEAST_BYTES: usize = 1 << 10;
/// Longer ones are spares of the whole process, at most so many bytes of them.
const THREADS_BYTES: usize = 32 << 10;
const MOST_OF_PROCESS: usize = 16 << 20;
/// Spares of each thread: at most so many bytes.
const MOST_OF_THREAD: usize = 128 << 10;

thread_local! {
    static OF_THREAD: RefCell<Spares> = const { RefCell::new(Spares::new(MOST_OF_THREAD)) };
}

/// Not `crate::sync`'s: it outlives every model, and nobody yields while it is held.
static OF_PROCESS: Mutex<Spares> = Mutex::new(Spares::new(MOST_OF_PROCESS));

/// An empty buffer with room for `len` bytes.
pub(super) fn take(len: usize) -> Vec<u8> {
    let spare = if len < LEAST_BYTES {
        None
    } else if len <= THREADS_BYTES {
        let spares = OF_THREAD.try_with(|spares| spares.borrow_mut().take(len));
        spares.ok().flatten()
    } else {
        OF_PROCESS.lock().take(len)
    };
    spare.unwrap_or_else(|| Vec::with_capacity(len))
}

/// A copy of these bytes. It takes no lock: somebody may be pinned.
pub(super) fn copied(bytes: &[u8]) -> Bytes {
    if bytes.len() > THREADS_BYTES {
        return Bytes::copy_from_slice(bytes);
    }
    let mut buffer = take(bytes.len());
    buffer.extend_from_slice(bytes);
    shared(buffer)
}

/// What was read, to be cut and handed out; its memory comes back here in the end.
pub(super) fn shared(buffer: Vec<u8>) -> Bytes {
    if buffer.capacity() < LEAST_BYTES {
        return Bytes::from(buffer);
    }
    Bytes::from_owner(Buffer(buffer))
}

struct Buffer(Vec<u8>);

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.0);
        if buffer.capacity() <= THREADS_BYTES {
            // A thread that ends keeps nothing.
            let _ = OF_THREAD.try_with(|spares| spares.borrow_mut().give(buffer));
        } else {
            // Freed once the lock is released.
            let _freed = OF_PROCESS.lock().give(buffer);
        }
    }
}

/// The last one in is the first one out.
struct Spares {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
    most_bytes: usize,
}

impl Spares {
    const fn new(most_bytes: usize) -> Self {
        Self {
            buffers: Vec::new(),
            bytes: 0,
            most_bytes,
        }
    }

    /// One of at least `len` bytes, and not of much more: so many may be read, and a small value would keep the memory of a
    /// large one.
    fn take(&mut self, len: usize) -> Option<Vec<u8>> {
        let fits = |spare: &Vec<u8>| (len..=len + len / 8).contains(&spare.capacity());
        let at = self.buffers.iter().rposition(fits)?;
        let mut buffer = self.buffers.remove(at);
        self.bytes -= buffer.capacity();
        buffer.clear();
        Some(buffer)
    }

    /// The oldest make room, and are returned to be freed.
    fn give(&mut self, buffer: Vec<u8>) -> Vec<Vec<u8>> {
        let bytes = buffer.capacity();
        if bytes > self.most_bytes {
            return vec![buffer];
        }
        let mut left = self.bytes + bytes;
        if left <= self.most_bytes {
            self.bytes = left;
            self.buffers.push(buffer);
            return Vec::new();
        }
        let too_many = |spare: &&Vec<u8>| {
            let goes = left > self.most_bytes;
            left -= if goes { spare.capacity() } else { 0 };
            goes
        };
        let oldest = self.buffers.iter().take_while(too_many).count();
        let freed = self.buffers.drain(..oldest).collect();
        self.bytes = left;
        self.buffers.push(buffer);
        freed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_a_value_that_is_let_go_is_taken_again() {
        for len in [2 * LEAST_BYTES, 5_000, THREADS_BYTES, 3 << 20] {
            let mut buffer = take(len);
            buffer.resize(len, 7);
            let place = buffer.as_ptr();
            let value = shared(buffer).slice(1..);
            let again = take(len);
            assert_ne!(again.as_ptr(), place, "a clone is still there");
            assert_eq!((value.len(), value[0]), (len - 1, 7));
            drop((again, value));
            let again = take(len - len / 16);
            assert_eq!((again.as_ptr(), again.len()), (place, 0));
        }
    }

    #[test]
    fn spares_are_bounded_and_the_oldest_go() {
        let mut spares = Spares::new(10_000);
        for len in [3_000, 4_000, 2_000, 5_000, 11_000] {
            drop(spares.give(Vec::with_capacity(len)));
            assert!(spares.bytes <= 10_000);
        }
        let capacities: Vec<_> = spares.buffers.iter().map(Vec::capacity).collect();
        assert_eq!((capacities, spares.bytes), (vec![2_000, 5_000], 7_000));
        assert!(spares.take(3_000).is_none(), "too small, and too large");
        assert_eq!(spares.take(1_800).unwrap().capacity(), 2_000);
        assert_eq!(spares.bytes, 5_000);
    }
}
