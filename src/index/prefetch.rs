//! Asks the processor for memory ahead of its use.
#![expect(
    unsafe_code,
    reason = "the instruction takes a pointer; a fresh key's insert waits for one miss instead of three"
)]

/// Begins to load the cache line that `line` starts in. A hint: where there is no such instruction nothing happens.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline]
pub(super) fn prefetch<T>(line: &T) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a prefetch reads nothing that the program sees and faults on no address; the instruction belongs to SSE,
    // which every x86_64 has.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(line).cast()) };
}

#[cfg(not(all(target_arch = "x86_64", not(miri))))]
pub(super) fn prefetch<T>(_line: &T) {}
