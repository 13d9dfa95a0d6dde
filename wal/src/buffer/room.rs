//! How much room there is, for who wants to leave some.

use super::{Buffers, Class, Segments};
use crate::header_word::Word;
use crate::lsn::ALIGN;
use crate::segment::ROW_BYTES;
use crate::sync::Ordering;
use crate::tail::Tail;

impl Buffers {
    /// True while there are `bytes` more in the window, and in a segment that `class` may have. Without a lock unless the
    /// current buffer is sealed, or the segment at its end. What others do meanwhile may make either answer wrong.
    pub(crate) fn has_left(
        &self,
        tail: &Tail,
        segments: &impl Segments,
        bytes: u64,
        class: Class,
    ) -> bool {
        let seq = self.current.load(Ordering::Acquire);
        let word = Word(tail.descriptor(seq).word.load(Ordering::Acquire));
        // Relaxed: a buffer that is not this one any more makes it an answer of a moment ago.
        let base = tail.descriptor(seq).base.load(Ordering::Relaxed);
        let (end, room) = if seq == 0 || word.sealed() || !word.is_of(seq) {
            let rotation = self.rotation.lock();
            let ended = rotation.segment_ended;
            let room = if ended {
                0
            } else {
                self.segment_room(&rotation)
            };
            (self.next_lsn(&rotation).0, room)
        } else {
            let filled = word.offset() * ALIGN;
            let budget = self.side(seq).budget.load(Ordering::Relaxed);
            (
                base + filled,
                budget.saturating_sub(filled + word.frames() * ROW_BYTES),
            )
        };
        if end + bytes > tail.window_end() {
            // Nobody may come by the epoch otherwise: who does not wait makes no room.
            tail.drive();
        }
        end + bytes <= tail.window_end() && (bytes <= room || segments.has(class))
    }
}
