//! The proof by which the flusher looks at the ring.

use super::*;

fn empty() -> (Tail, Complete) {
    let mut tail = Tail::heap(4096);
    let identity = TailIdentity {
        cache_id: 1,
        tail_id: 2,
        incarnation: 3,
        ring_bytes: 4096,
        boot_id: [0; 16],
    };
    let complete = tail.reset(&identity, Lsn(8192));
    (tail, complete)
}

#[test]
fn what_is_complete_is_shown() {
    let (tail, mut complete) = empty();
    // SAFETY: nothing is reserved here.
    unsafe { complete.raise(Lsn(8256)) };
    let shown = tail.with_complete(&complete, Lsn(8192), 64, <[u8]>::len);
    assert_eq!(shown, 64);
}

#[test]
#[should_panic(expected = "complete.end")]
fn what_may_have_a_writer_is_not_shown() {
    let (tail, complete) = empty();
    tail.with_complete(&complete, Lsn(8192), 16, |_| ());
}

#[test]
#[should_panic(expected = "unfinished writer")]
fn what_may_have_a_writer_is_not_released() {
    let (tail, mut complete) = empty();
    tail.advance(&mut complete, Lsn(8192), Lsn(8208));
}
