//! One cache line of five slots, read without a lock.
//!
//! ```text
//!   | version | slot 0: 3 words | slot 1 | slot 2 | slot 3 | slot 4 |   16 words of 32 bits
//! ```
//!
//! A sequence lock: `version` is odd while the holder of the shard's lock changes a slot, so a
//! reader that saw the same even number before and after has read no torn slot. All words are
//! atomics and no unsafe code is needed. Orderings, and who pairs with whom:
//!
//! - the reader's first (acquire) load of `version` pairs with the writer's last (release) store
//!   of it: whoever sees the new version sees the new words;
//! - the reader's acquire fence pairs with the writer's release fence: whoever read one new word
//!   sees at least the odd version afterwards, and tries again.
//!
//! A reader asleep across exactly 2^31 changes of one bucket would be fooled; it is pinned for
//! one lookup only, and what it finds is compared with the full key on disk in any case.

use super::lines::{Line, WORDS};
use super::prefetch::prefetch;
use super::slot::{Slot, Tag, VISITED_MAX};
use crate::sync::{AtomicU32, Backoff, Ordering, fence};

pub(super) const SLOTS: usize = 5;

/// A line of the table.
#[derive(Clone, Copy)]
pub(super) struct Bucket<'a>(pub(super) &'a Line);

type SlotWords = [AtomicU32; 3];

const _: () = assert!(1 + SLOTS * 3 == WORDS);

impl<'a> Bucket<'a> {
    #[inline]
    fn version(self) -> &'a AtomicU32 {
        &self.0[0]
    }

    #[inline]
    fn slots(self) -> &'a [SlotWords] {
        self.0[1..].as_chunks().0
    }

    /// Begins to load it.
    #[inline]
    pub(super) fn prefetch(self) {
        prefetch(self.0);
    }

    /// The slot with this tag. Any thread may ask.
    pub(super) fn find(self, tag: Tag) -> Option<(usize, Slot)> {
        let backoff = Backoff::new();
        loop {
            let before = self.version().load(Ordering::Acquire);
            let found = self.scan(tag);
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && self.version().load(Ordering::Relaxed) == before {
                return found;
            }
            backoff.snooze();
        }
    }

    /// [`find`](Self::find) without a look at the version. Alone it is only for the holder of the shard's lock.
    #[inline]
    pub(super) fn scan(self, tag: Tag) -> Option<(usize, Slot)> {
        let [first, second] = tag.words();
        for (at, words) in self.slots().iter().enumerate() {
            if words[0].load(Ordering::Relaxed) != first {
                continue;
            }
            let slot = load(words);
            // An empty slot looks like the tag that is all zero.
            if slot.words()[1] & Slot::WORD_1_TAG == second && !slot.is_empty() {
                return Some((at, slot));
            }
        }
        None
    }

    /// Raises the visited bits of the slot that was read as `seen`; false: they are as they were. Any thread may.
    ///
    /// One attempt: a lost race loses a hint. Should the slot have become another entry's whose
    /// word 2 is equal bit for bit, that one counts as visited; no other bit can change.
    pub(super) fn visit(self, at: usize, seen: Slot) -> bool {
        if seen.payload().visited == VISITED_MAX {
            return false;
        }
        let [_, _, word] = seen.words();
        // Relaxed: it publishes nothing, and being a read-modify-write it does not come between
        // the writer's store of this word and a reader's fence.
        let order = Ordering::Relaxed;
        self.slots()[at][2]
            .compare_exchange(word, word + 1, order, order)
            .is_ok()
    }

    /// What a slot holds now. Only for the holder of the shard's lock.
    #[inline]
    pub(super) fn slot(self, at: usize) -> Slot {
        load(&self.slots()[at])
    }

    /// The first empty slot. Only for the holder of the shard's lock.
    #[inline]
    pub(super) fn vacancy(self) -> Option<usize> {
        let empty = |words: &SlotWords| words[2].load(Ordering::Relaxed) == 0;
        self.slots().iter().position(empty)
    }

    /// The tag of a slot that is not empty, without what it says. Only for the holder of the shard's lock.
    #[inline]
    pub(super) fn tag(self, at: usize) -> Tag {
        let words = &self.slots()[at];
        let (first, second) = (&words[0], &words[1]);
        Tag::from_words([first, second].map(|word| word.load(Ordering::Relaxed)))
    }

    /// Sets a slot of a bucket that no reader can see.
    #[inline]
    pub(super) fn fill(self, at: usize, slot: Slot) {
        store(&self.slots()[at], slot);
    }

    /// Only for the holder of the shard's lock.
    #[inline]
    pub(super) fn write(self, at: usize, slot: Slot) {
        let version = self.version().load(Ordering::Relaxed);
        self.version()
            .store(version.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        store(&self.slots()[at], slot);
        self.version()
            .store(version.wrapping_add(2), Ordering::Release);
    }
}

#[inline]
fn store(words: &SlotWords, slot: Slot) {
    for (word, new) in words.iter().zip(slot.words()) {
        word.store(new, Ordering::Relaxed);
    }
}

#[inline]
fn load(words: &SlotWords) -> Slot {
    Slot::from_words([0, 1, 2].map(|i| words[i].load(Ordering::Relaxed)))
}
