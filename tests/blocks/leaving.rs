//! Readers that leave: what they waited for is in nobody's way.

use std::sync::Arc;
use std::thread;

use perennial::ErrorKind;
use perennial::blocks::{Cancel, ReadOptions};

use crate::source::{Source, until};
use crate::{BLOCK, over, settled};

fn kind(read: perennial::Result<Vec<u8>>) -> Option<ErrorKind> {
    read.err().map(|error| error.kind())
}

/// A reader that has left, and the call of the origin that it waited for, are in nobody's way.
#[test]
fn who_asks_behind_a_reader_that_left_fetches_anew() {
    let source = Arc::new(Source::new(8 * BLOCK));
    let blocks = over(&source);
    source.stop_next(1);
    let cancel = Cancel::new();
    thread::scope(|s| {
        let options = ReadOptions::new().cancel(&cancel);
        let leaver = s.spawn(|| blocks.read("object", 0..2 * BLOCK, &{ options }));
        source.until_waiting(1);
        cancel.cancel();
        assert_eq!(kind(leaver.join().unwrap()), Some(ErrorKind::Cancelled));
        let read = blocks.read("object", 0..BLOCK, &ReadOptions::new());
        assert_eq!(read.unwrap(), source.bytes("object", 1, 0..BLOCK));
        source.open_gate();
    });
    // What the thread that could not leave has brought is there all the same.
    until(|| blocks.stats().left_blocks == 2);
    let stats = settled(&blocks);
    assert_eq!((source.reads(), stats.filled_blocks), (2, 2));
    let read = blocks.read("object", BLOCK..2 * BLOCK, &ReadOptions::new());
    assert_eq!(read.unwrap(), source.bytes("object", 1, BLOCK..2 * BLOCK));
    assert_eq!(source.reads(), 2);
}

/// As long as one waits for a block of a run, whoever asks for another joins it.
#[test]
fn a_run_is_given_up_as_a_whole() {
    let source = Arc::new(Source::new(8 * BLOCK));
    let blocks = over(&source);
    source.stop_next(1);
    let cancels = [Cancel::new(), Cancel::new()];
    let options = cancels
        .each_ref()
        .map(|cancel| ReadOptions::new().cancel(cancel));
    let read = |range, options: &ReadOptions| blocks.read("object", range, options);
    thread::scope(|s| {
        let all = s.spawn(|| read(0..4 * BLOCK, &options[0]));
        source.until_waiting(1);
        let one = s.spawn(|| read(BLOCK..2 * BLOCK, &options[1]));
        until(|| blocks.stats().joined == 1);
        cancels[0].cancel();
        assert_eq!(kind(all.join().unwrap()), Some(ErrorKind::Cancelled));
        let late = s.spawn(|| read(3 * BLOCK..4 * BLOCK, &ReadOptions::new()));
        until(|| blocks.stats().joined == 2);
        cancels[1].cancel();
        assert_eq!(kind(one.join().unwrap()), Some(ErrorKind::Cancelled));
        let later = s.spawn(|| read(0..BLOCK, &ReadOptions::new()));
        until(|| blocks.stats().joined == 3);
        source.open_gate();
        let expected = source.bytes("object", 1, 0..4 * BLOCK);
        let block = usize::try_from(BLOCK).unwrap();
        assert_eq!(late.join().unwrap().unwrap(), expected[3 * block..]);
        assert_eq!(later.join().unwrap().unwrap(), expected[..block]);
    });
    assert_eq!((source.reads(), settled(&blocks).left_blocks), (1, 0));
}
