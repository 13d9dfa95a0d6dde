//! A frame whose key and value are at hand: filled and finished in one piece.

use super::Reservation;
use crate::frame::{HEADER_BYTES, flags};
use crate::lsn::{Lsn, to_usize};

/// Of a header, what lies behind the ready word.
const BEHIND_READY: usize = to_usize(HEADER_BYTES) - 8;

impl Reservation<'_> {
    /// Copies key and value to their places and completes the frame: what [`body`](Self::body) and
    /// [`complete`](Self::complete) do, with one look at where the frame lies.
    ///
    /// # Panics
    /// When key and value are not as long as the frame was reserved for.
    #[inline(always)]
    pub fn complete_with(mut self, key: &[u8], value: &[u8]) -> Lsn {
        assert!(
            key.len() == usize::from(self.header.key_bytes)
                && value.len() as u64 == u64::from(self.header.value_bytes),
            "a frame holds what it was reserved for"
        );
        if self.header.flags & flags::CHUNKED != 0 {
            let body = self.body();
            body.key.copy_from_slice(key);
            body.value.copy_from_slice(value);
            return self.complete();
        }
        let body = &mut self.bytes()[BEHIND_READY..BEHIND_READY + key.len() + value.len()];
        let (for_key, for_value) = body.split_at_mut(key.len());
        for_key.copy_from_slice(key);
        for_value.copy_from_slice(value);
        let body_crc = crc32fast::hash(body);
        self.header.body_crc = body_crc;
        let end = self.end();
        self.finish();
        std::mem::forget(self);
        end
    }
}

#[cfg(all(test, not(loom), not(shuttle)))]
mod tests {
    use std::path::Path;

    use perennial_failpoints::SimFs;

    use crate::buffer::Class;
    use crate::frame::{FrameHeader, FrameKind};
    use crate::{FrameSpec, Log, LogOptions, TailRead};

    #[test]
    fn a_frame_made_in_one_piece_proves_itself_and_holds_key_and_value() {
        let options = LogOptions::new()
            .segment_bytes(1 << 20)
            .tail_bytes(1 << 20)
            .background(false);
        let log = Log::open(&SimFs::new(1), Path::new("/log"), &options).unwrap();
        let bytes: Vec<u8> = (0..70_000_u32)
            .map(|n| n.to_le_bytes()[n as usize % 2])
            .collect();
        for value_bytes in [0, 1, 15, 16, 17, 128, 255, 4096, 65_536, 65_537] {
            for key_bytes in [1_u16, 7, 16, 300] {
                let (key, value) = (
                    &bytes[..key_bytes.into()],
                    &bytes[7..7 + value_bytes as usize],
                );
                let spec = FrameSpec {
                    kind: FrameKind::Put,
                    hash: 0x1234_5678_9abc,
                    key_bytes,
                    value_bytes,
                    expiry: 9,
                    flags: 0x20,
                };
                let reservation = log.log.try_reserve(spec, Class::Put).unwrap();
                let lsn = reservation.lsn();
                let end = reservation.complete_with(key, value);
                assert_eq!(end, lsn.plus(spec.header().frame_bytes(1)));
                let read = log.log.read_tail(lsn, |header, frame| {
                    header.check_body(frame).unwrap();
                    assert_eq!((header.key(frame), header.value(frame)), (key, value));
                    FrameHeader {
                        body_crc: 0,
                        ..*header
                    }
                });
                assert_eq!(read, TailRead::Frame(spec.header()));
                log.flush().unwrap();
            }
        }
    }
}
