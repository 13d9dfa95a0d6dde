//! A segment's file, read as a walk goes along it.
//!
//! ```text
//!   file:  ........|============ window ============|................
//!                         ^ asked for, and more than there is:  |== kept ==|=========== read ===========|
//! ```
//! Memory for all of the last segment, which has no table, was a fifth of an open: new pages cost more than what is read into
//! them. With a second thread what comes next is read while what is there is looked at.

use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::Scope;

use super::Contents;
use super::files::Files;
use crate::aligned::AlignedBuf;
use crate::lsn::{align_down, align_up, to_usize};
use crate::scan::ChainSegment;
use crate::walk::{ReadFile, touches};

/// Bytes of a window, unless a frame has more.
const WINDOW_BYTES: u64 = 2 << 20;
/// Bytes that a second thread reads at a time, of which it holds three.
const PIECE_BYTES: u64 = 1 << 20;
/// What unbuffered reads begin at, on any device.
const ALIGNED: u64 = 4096;

pub(crate) struct Window<'a, 'c> {
    reading: Reading<'a, 'c>,
    ahead: Option<Ahead>,
    /// Read no further.
    end: u64,
    bytes: AlignedBuf,
    /// Which part of the file they are.
    part: Range<u64>,
    unread: Vec<Range<u64>>,
}

/// Another thread: pieces of the file, in order. Their memory goes back to it.
struct Ahead {
    pieces: Receiver<Piece>,
    used: Sender<AlignedBuf>,
}

#[derive(Clone)]
struct Reading<'a, 'c> {
    contents: &'a Contents<'c>,
    segment: &'a ChainSegment,
    files: Option<Files>,
}

struct Piece {
    at: u64,
    len: usize,
    bytes: AlignedBuf,
    unread: Vec<Range<u64>>,
}

impl Reading<'_, '_> {
    fn read(&self, into: &mut [u8], at: u64, unread: &mut Vec<Range<u64>>) {
        let files = self.files.as_ref();
        self.contents
            .read_into(self.segment, files, into, at, unread);
    }

    /// Until nobody asks for more.
    fn read_ahead(
        &self,
        part: Range<u64>,
        pieces: &SyncSender<Piece>,
        used: &Receiver<AlignedBuf>,
    ) {
        let mut at = part.start;
        while at < part.end {
            let new = |_| AlignedBuf::zeroed(to_usize(PIECE_BYTES));
            let mut piece = Piece {
                at,
                len: to_usize((part.end - at).min(PIECE_BYTES)),
                bytes: used.try_recv().unwrap_or_else(new),
                unread: Vec::new(),
            };
            self.read(&mut piece.bytes[..piece.len], at, &mut piece.unread);
            at += piece.len as u64;
            if pieces.send(piece).is_err() {
                return;
            }
        }
    }
}

impl<'a, 'c> Window<'a, 'c> {
    pub(crate) fn new(contents: &'a Contents<'c>, segment: &'a ChainSegment, end: u64) -> Self {
        let geometry = contents.geometry;
        let end = align_up(end.min(geometry.segment_bytes), geometry.sector);
        Self {
            reading: Reading {
                contents,
                segment,
                files: contents.files(segment),
            },
            ahead: None,
            end,
            bytes: AlignedBuf::zeroed(to_usize(end.min(WINDOW_BYTES))),
            part: 0..0,
            unread: Vec::new(),
        }
    }

    /// From now on another thread reads, from `begin` on, if there is one to be had and the log is read by more than one.
    pub(crate) fn read_ahead<'s>(&mut self, scope: &'s Scope<'s, '_>, begin: u64)
    where
        'a: 's,
        'c: 's,
    {
        let part = align_down(begin, ALIGNED)..self.end;
        if self.reading.contents.threads < 2 || part.end.saturating_sub(part.start) < WINDOW_BYTES {
            return;
        }
        let reading = self.reading.clone();
        let ((sender, pieces), (used, again)) = (sync_channel(1), channel());
        let name = std::thread::Builder::new().name("perennial-walk".to_owned());
        // Whoever asks for what lies before asks the file.
        self.part = part.start..part.start;
        let read = move || reading.read_ahead(part, &sender, &again);
        if name.spawn_scoped(scope, read).is_ok() {
            self.ahead = Some(Ahead { pieces, used });
        }
    }

    /// Reads on, from `offset`, to where `stop` is in the window; keeps what it has of that.
    fn move_to(&mut self, offset: u64, stop: u64) {
        let begin = align_down(offset, ALIGNED);
        let wanted = (stop - begin).max(WINDOW_BYTES).min(self.end - begin);
        if begin < self.part.start {
            // The other thread does not go back.
            self.ahead = None;
        }
        // A piece that it read comes whole.
        let more = self.ahead.as_ref().map_or(0, |_| PIECE_BYTES);
        let room = to_usize(wanted + more);
        let kept = if self.part.contains(&begin) {
            to_usize(begin - self.part.start)..to_usize(self.part.end - self.part.start)
        } else {
            0..0
        };
        let len = kept.len();
        if self.bytes.len() < room {
            let mut larger = AlignedBuf::zeroed(room);
            larger[..len].copy_from_slice(&self.bytes[kept]);
            self.bytes = larger;
        } else {
            self.bytes.copy_within(kept, 0);
        }
        self.part = begin..begin + len as u64;
        if let Some(ahead) = self.ahead.take() {
            self.take_pieces(&ahead, begin + wanted);
            self.ahead = Some(ahead);
        } else {
            let more = &mut self.bytes[len..to_usize(wanted)];
            self.reading.read(more, self.part.end, &mut self.unread);
            self.part.end = begin + wanted;
        }
    }

    fn take_pieces(&mut self, ahead: &Ahead, stop: u64) {
        while self.part.end < stop {
            // That thread ends where the part does, or with a panic, which its scope passes on.
            let Ok(piece) = ahead.pieces.recv() else {
                return;
            };
            self.unread.extend(piece.unread);
            // What was skipped is not kept.
            let skipped = to_usize(self.part.end.saturating_sub(piece.at)).min(piece.len);
            let more = &piece.bytes[skipped..piece.len];
            let at = to_usize(self.part.end - self.part.start);
            self.bytes[at..at + more.len()].copy_from_slice(more);
            self.part.end += more.len() as u64;
            // Nobody may be there to take it.
            let _ = ahead.used.send(piece.bytes);
        }
    }
}

impl ReadFile for Window<'_, '_> {
    fn at(&mut self, offset: u64, bytes: u64) -> &[u8] {
        let stop = offset.saturating_add(bytes).min(self.end);
        if offset >= stop {
            return &[];
        }
        if offset < self.part.start || stop > self.part.end {
            self.move_to(offset, stop);
        }
        let part = offset - self.part.start..self.part.end - self.part.start;
        &self.bytes[to_usize(part.start)..to_usize(part.end)]
    }

    fn is_unread(&self, part: Range<u64>) -> bool {
        touches(&self.unread, part)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use perennial_failpoints::{Fs, SimFs};

    use super::*;
    use crate::geometry::Geometry;
    use crate::lsn::{Lsn, SegmentId, to_u32};
    use crate::scan::TailEvidence;
    use crate::segment::{Join, SegmentHeader, file_name};

    const GEOMETRY: Geometry = Geometry {
        segment_bytes: 9 << 20,
        sector: 512,
    };

    fn header() -> SegmentHeader {
        SegmentHeader {
            cache_id: 5,
            number: SegmentId(1),
            kept: None,
            predecessor: SegmentId(1),
            oldest: SegmentId(1),
            stable: Lsn(0),
            checkpoint: Lsn(0),
            segment_bytes: to_u32(to_usize(GEOMETRY.segment_bytes)),
            sector: 512,
            joins: vec![Join {
                begin: 1024,
                end: 0,
                incarnation: 7,
                void_through: 0,
            }],
        }
    }

    /// Whatever is asked for, in whatever order: what the file has there.
    #[test]
    fn a_window_shows_the_file_wherever_it_is() {
        let mut bytes = header().encode();
        let words = (bytes.len() as u64 / 8..GEOMETRY.segment_bytes / 8)
            .map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        bytes.extend(words.flat_map(u64::to_le_bytes));
        let machine = SimFs::new(1);
        machine.write_file(&Path::new("/log").join(file_name(0)), &bytes);
        let dir = machine.open_dir(Path::new("/log")).unwrap();
        let contents = Contents::find(&*dir, 5, GEOMETRY, TailEvidence::default(), 2).unwrap();
        let segment = &contents.found.chain[0];
        for end in [GEOMETRY.segment_bytes, 5_000_001] {
            let mut window = Window::new(&contents, segment, end);
            let end = align_up(end, 512);
            let asked = [
                (0, 1),
                (2 << 20, 1),
                ((2 << 20) - 16, 32),
                (3 << 20, 3 << 20),
                ((3 << 20) + 16, 32),
                ((4 << 20) - 16, 6 << 20),
                (end - 48, 48),
                (end - 48, 4096),
                (end, 1),
                (u64::MAX, 1),
                (4096, 100),
            ];
            for (at, wanted) in asked {
                let shown = window.at(at, wanted);
                let there = to_usize(wanted.min(end.saturating_sub(at)));
                assert!(shown.len() >= there, "{there} at {at}");
                let file = bytes.get(to_usize(at)..).unwrap_or(&[]);
                assert!(file.starts_with(shown), "at {at}");
            }
            assert!(!window.is_unread(0..end));
            for begin in [0, 1 << 20, end - 1] {
                std::thread::scope(|scope| {
                    let mut window = Window::new(&contents, segment, end);
                    window.read_ahead(scope, begin);
                    for (at, wanted) in &asked {
                        let shown = window.at(*at, *wanted);
                        let there = to_usize((*wanted).min(end.saturating_sub(*at)));
                        assert!(shown.len() >= there, "{there} at {at}");
                        let file = bytes.get(to_usize(*at)..).unwrap_or(&[]);
                        assert!(file.starts_with(shown), "at {at}");
                    }
                });
            }
        }
    }

    /// The memory was another part's before.
    #[test]
    fn behind_the_end_of_a_short_file_there_are_zeros() {
        let mut bytes = header().encode();
        bytes.resize((2 << 20) + 4096, 0xa5);
        let machine = SimFs::new(1);
        machine.write_file(&Path::new("/log").join(file_name(0)), &bytes);
        let dir = machine.open_dir(Path::new("/log")).unwrap();
        let contents = Contents::find(&*dir, 5, GEOMETRY, TailEvidence::default(), 2).unwrap();
        let segment = &contents.found.chain[0];
        std::thread::scope(|scope| {
            for ahead in [false, true] {
                let mut window = Window::new(&contents, segment, GEOMETRY.segment_bytes);
                if ahead {
                    window.read_ahead(scope, 0);
                }
                window.at(0, 1);
                for at in 3..9 {
                    let shown = window.at(at << 20, 512);
                    assert!(shown[..512].iter().all(|byte| *byte == 0), "{ahead}, {at}");
                }
            }
        });
    }
}
