//! Memory that a file and its maps share: the kernel's for `StdFs`, the inode's own for `SimFs`. And advice on other memory.
//!
//! The only file of the crate that holds unsafe code.
#![expect(
    unsafe_code,
    reason = "mapping a file and sharing bytes between maps cannot be said in safe code"
)]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ffi::c_void;
use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mlock, mmap, munmap};

/// What a map is aligned to, and the piece in which the kernel writes it back.
pub(super) const MAP_ALIGN: usize = 4096;

/// A `MAP_SHARED` mapping of a file's first bytes, unmapped on drop.
#[derive(Debug)]
pub(super) struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to the process, not to a thread; munmap may run on any thread.
unsafe impl Send for Mapping {}
// SAFETY: the methods only hand out the address; who writes through it synchronises (SharedMap::as_ptr).
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `[0, len)`; the caller has checked that the file is that long (a touch past its end is SIGBUS).
    ///
    /// Until it is locked a touch reads the page it needs. The kernel reads as much around it as it reads ahead of a file, 8 MiB
    /// for some devices: three of those were half of what it took to open a cache that had been closed.
    pub(super) fn new(file: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: with a null address the kernel picks unused space, so no existing object is overlapped.
        let start =
            unsafe { mmap(std::ptr::null_mut(), len, prot, MapFlags::SHARED, file, 0) }?.cast();
        let start = NonNull::new(start).ok_or_else(|| io::Error::other("mmap returned null"))?;
        let map = Self { start, len };
        map.advise(Advice::Random);
        Ok(map)
    }

    fn advise(&self, advice: Advice) {
        // SAFETY: `start` and `len` name a live mapping made in `new`; neither advice given here changes a byte of it.
        // Where the kernel refuses, it is slower or reads more, and nothing else.
        let _ = unsafe { madvise(self.start.as_ptr().cast::<c_void>(), self.len, advice) };
    }
}

impl super::SharedMap for Mapping {
    fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    fn len(&self) -> usize {
        self.len
    }

    fn lock_in_memory(&self) -> bool {
        self.advise(Advice::Normal);
        // SAFETY: `start` and `len` name a live mapping made in `new`; mlock neither reads nor writes it.
        unsafe { mlock(self.start.as_ptr().cast::<c_void>(), self.len) }.is_ok()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `start` and `len` are what mmap gave in `new`; pointers are valid only while `self` lives.
        // An error would mean that they are not, and leaves the mapping as it was.
        let _ = unsafe { munmap(self.start.as_ptr().cast::<c_void>(), self.len) };
    }
}

/// The smallest that Linux has on most processors.
#[cfg(target_os = "linux")]
const LARGE_PAGE: usize = 2 << 20;

/// Asks the system for large pages where this memory has not been touched yet. What is filled once, from one end to the
/// other, costs a page fault for each 2 MiB then, not for each 4 KiB. Advice only, and for 2 MiB at least: nothing else changes.
pub fn advise_large_pages<T>(memory: &mut [T]) {
    #[cfg(target_os = "linux")]
    {
        let start = memory.as_mut_ptr().cast::<u8>();
        let skipped = start.align_offset(MAP_ALIGN);
        let len = size_of_val(memory).saturating_sub(skipped) / MAP_ALIGN * MAP_ALIGN;
        if len < LARGE_PAGE {
            return;
        }
        let start = start.wrapping_add(skipped).cast::<c_void>();
        // SAFETY: whole pages of a slice that is borrowed for writing; the advice changes no byte, and no right to it.
        // Where the kernel has no such pages it refuses, and all is as before.
        let _ = unsafe { madvise(start, len, Advice::LinuxHugepage) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = memory;
}

/// Zeroed, aligned memory which an inode of the simulation shares with its maps.
#[derive(Debug)]
pub(super) struct Memory {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the allocation is owned and may be freed on any thread.
unsafe impl Send for Memory {}
// SAFETY: `read` loads atomically, `write` is called under the file system's lock; who writes through the
// address synchronises (SharedMap::as_ptr).
unsafe impl Sync for Memory {}

impl Memory {
    /// `len` bytes of zeros; `len` is not 0.
    pub(super) fn new(len: usize) -> Self {
        let layout = Self::layout(len);
        // SAFETY: the layout's size is not zero: `layout` rounds a non-zero length up and asserts it.
        let start = unsafe { alloc_zeroed(layout) };
        let start = NonNull::new(start).unwrap_or_else(|| handle_alloc_error(layout));
        Self { start, len }
    }

    fn layout(len: usize) -> Layout {
        assert!(len > 0, "a map of no bytes");
        Layout::from_size_align(len.next_multiple_of(MAP_ALIGN), MAP_ALIGN)
            .expect("the length of a file in memory fits a layout")
    }

    /// The first byte.
    pub(super) fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// Length in bytes, as asked for in [`Memory::new`].
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Copies out `[at, at + out.len())`. A snapshot may be taken while another thread stores through a map, so
    /// this loads word by word, atomically: it may see a torn mix, as a crash would, but never anything else.
    pub(super) fn read(&self, at: usize, out: &mut [u8]) {
        self.check(at, out.len());
        let head = at.next_multiple_of(8).min(at + out.len()) - at;
        let (head_out, rest) = out.split_at_mut(head);
        self.read_bytes(at, head_out);
        let mut at = at + head;
        let mut words = rest.chunks_exact_mut(8);
        for word in &mut words {
            // SAFETY: in bounds (checked above) and aligned: `start` is aligned to 4096 and `at` to 8.
            let cell = unsafe { AtomicU64::from_ptr(self.start.as_ptr().add(at).cast()) };
            let value = cell.load(Ordering::Relaxed);
            // Native order on both sides: bytes in, the same bytes out.
            word.copy_from_slice(bytes_of(&value));
            at += 8;
        }
        self.read_bytes(at, words.into_remainder());
    }

    /// The same bytes in memory of its own; what a thread stores meanwhile may be torn, as in [`Memory::read`].
    pub(super) fn copy(&self) -> Self {
        let copy = Self::new(self.len);
        // SAFETY: `len` bytes of an allocation that is initialised and that nobody else has the address of yet.
        let out = unsafe { std::slice::from_raw_parts_mut(copy.start.as_ptr(), copy.len) };
        self.read(0, out);
        copy
    }

    /// The bytes of a part, as [`Memory::read`] gives them.
    pub(super) fn bytes(&self, part: Range<usize>) -> Vec<u8> {
        let mut bytes = vec![0; part.len()];
        self.read(part.start, &mut bytes);
        bytes
    }

    /// True when `[at, at + bytes.len())` holds just that.
    pub(super) fn holds(&self, at: usize, bytes: &[u8]) -> bool {
        let mut here = [0; 512];
        bytes.chunks(here.len()).zip(0usize..).all(|(piece, n)| {
            let here = &mut here[..piece.len()];
            self.read(at + n * 512, here);
            *here == *piece
        })
    }

    fn read_bytes(&self, at: usize, out: &mut [u8]) {
        for (i, byte) in out.iter_mut().enumerate() {
            // SAFETY: in bounds: only called from `read`, after its check.
            let cell = unsafe { AtomicU8::from_ptr(self.start.as_ptr().add(at + i)) };
            *byte = cell.load(Ordering::Relaxed);
        }
    }

    /// Copies `data` to `[at, at + data.len())`.
    pub(super) fn write(&self, at: usize, data: &[u8]) {
        self.check(at, data.len());
        // SAFETY: in bounds (checked above); `data` is a Rust slice, which a map's memory never is.
        unsafe {
            std::ptr::copy_nonoverlapping(data.as_ptr(), self.start.as_ptr().add(at), data.len());
        }
    }

    fn check(&self, at: usize, len: usize) {
        let end = at.checked_add(len);
        assert!(end.is_some_and(|end| end <= self.len), "outside the map");
    }
}

/// A word's bytes as they lie in memory.
fn bytes_of(word: &u64) -> &[u8; 8] {
    // SAFETY: u64 and [u8; 8] have the same size, every byte is initialised, and bytes need no alignment.
    unsafe { &*std::ptr::from_ref(word).cast::<[u8; 8]>() }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout; `len` never changes.
        unsafe { dealloc(self.start.as_ptr(), Self::layout(self.len)) };
    }
}

/// Fills a part of a map, for tests in files without unsafe code.
#[cfg(test)]
pub(super) fn store(map: &dyn super::SharedMap, place: std::ops::Range<usize>, byte: u8) {
    assert!(place.start <= place.end && place.end <= map.len());
    // SAFETY: in bounds (checked above) and valid while the map lives; tests store from one thread.
    unsafe { map.as_ptr().add(place.start).write_bytes(byte, place.len()) };
}

/// One byte of a map, for tests.
#[cfg(test)]
pub(super) fn load(map: &dyn super::SharedMap, at: usize) -> u8 {
    assert!(at < map.len());
    // SAFETY: in bounds (checked above) and valid while the map lives; tests store from one thread.
    unsafe { map.as_ptr().add(at).read() }
}

#[cfg(test)]
mod tests {
    use super::Memory;

    #[test]
    fn any_part_of_the_memory_is_read_as_written() {
        let memory = Memory::new(100);
        let pattern: Vec<u8> = (0..100).collect();
        memory.write(0, &pattern);
        for start in 0..100 {
            for end in start..100 {
                let mut out = vec![0xff; end - start];
                memory.read(start, &mut out);
                assert_eq!(out, pattern[start..end]);
            }
        }
    }

    #[test]
    #[should_panic(expected = "outside the map")]
    fn nothing_is_read_past_the_end() {
        Memory::new(100).read(90, &mut [0; 11]);
    }
}
