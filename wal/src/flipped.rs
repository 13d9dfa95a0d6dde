//! The one bit that flipped in a frame, found by its crc.
//!
//! A crc is linear: what a flipped bit changes in it depends on the bit's distance from the end alone, and is different for
//! every bit of up to half a gigabyte. So the difference of two crcs names the bit, if it was one.
//!
//! ```text
//!   header, 32 bytes   up to four flipped bits never look like another one; junk that names the right place passes once in 2^24 times
//!   body               junk passes once in 2^32 / bits times: never asked of a value
//! ```

use crate::frame::{FrameError, FrameHeader, FrameKind, HEADER_BYTES, Seed, flags};
use crate::lsn::to_usize;

/// The polynomial of CRC-32, lowest bit first.
const POLYNOMIAL: u32 = 0xedb8_8320;

/// A byte of a frame as it was: where in the frame, and what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flipped {
    pub(crate) at: usize,
    pub(crate) byte: u8,
}

/// The flipped bit of the frame that should begin where `bytes` does: without it the frame proves itself. `None`: it is
/// not one bit, or it may lie in a value, which is not guessed.
pub(crate) fn flipped_in_frame(bytes: &[u8], seed: Seed, offset: u64) -> Option<Flipped> {
    match FrameHeader::decode(bytes, seed, offset) {
        Ok(header) => flipped_in_body(&header, bytes),
        Err(FrameError::Short) => None,
        Err(_) => flipped_in_header(bytes, seed, offset),
    }
}

fn flipped_in_header(bytes: &[u8], seed: Seed, offset: u64) -> Option<Flipped> {
    let mut header = *bytes.first_chunk::<{ to_usize(HEADER_BYTES) }>()?;
    (0..header.len() * 8).find_map(|bit| {
        let (at, flipped) = (bit / 8, 1 << (bit % 8));
        header[at] ^= flipped;
        let (decoded, byte) = (FrameHeader::decode(&header, seed, offset), header[at]);
        header[at] ^= flipped;
        decoded.ok()?.check_body(bytes).ok()?;
        Some(Flipped { at, byte })
    })
}

/// Of frames of our own alone: there are no values in them.
fn flipped_in_body(header: &FrameHeader, bytes: &[u8]) -> Option<Flipped> {
    use FrameKind::{Clear, Head, Move, Part, Ref};
    let is_ours = matches!(header.kind, Ref | Part | Head | Move | Clear);
    if !is_ours || header.flags & flags::CHUNKED != 0 {
        return None;
    }
    let begin = to_usize(HEADER_BYTES);
    let body = bytes.get(begin..begin + to_usize(header.body_bytes()))?;
    let bit = flipped_bit(body, header.body_crc)?;
    Some(Flipped {
        at: begin + bit / 8,
        byte: body[bit / 8] ^ 1 << (bit % 8),
    })
}

/// Which bit of `bytes` has to be flipped for their crc to be this one.
fn flipped_bit(bytes: &[u8], crc: u32) -> Option<usize> {
    let difference = crc32fast::hash(bytes) ^ crc;
    // Of the last bit; then of those before it.
    let mut of_bit = POLYNOMIAL;
    (0..bytes.len() * 8).rev().find(|_| {
        let found = of_bit == difference;
        of_bit = of_bit >> 1 ^ POLYNOMIAL & (of_bit & 1).wrapping_neg();
        found
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: u64 = 1024;

    fn seed() -> Seed {
        Seed::new(5, 9, 77)
    }

    fn frame(kind: FrameKind, body: &[u8]) -> Vec<u8> {
        let header = FrameHeader {
            body_crc: crc32fast::hash(body),
            ..FrameHeader::filler(kind, 0, 31, u32::try_from(body.len()).unwrap())
        };
        [&header.encode(seed(), AT), body].concat()
    }

    #[test]
    fn every_flipped_bit_is_found_but_those_of_a_value() {
        let body: Vec<u8> = (0..200_u8).collect();
        for kind in FrameKind::ALL.into_iter().filter(|kind| kind.has_body()) {
            let whole = frame(kind, &body);
            assert_eq!(flipped_in_frame(&whole, seed(), AT), None, "{kind:?} whole");
            let has_value = matches!(kind, FrameKind::Put | FrameKind::Extent);
            for bit in (0..whole.len() * 8).step_by(crate::STEP) {
                let mut bad = whole.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                let expected = Flipped {
                    at: bit / 8,
                    byte: whole[bit / 8],
                };
                let expected = (bit < 256 || !has_value).then_some(expected);
                let found = flipped_in_frame(&bad, seed(), AT);
                assert_eq!(found, expected, "{kind:?} bit {bit}");
            }
        }
    }

    #[test]
    fn two_flipped_bits_are_not_one() {
        let whole = frame(FrameKind::Part, &[7; 64]);
        for first in (0..256).step_by(3 * crate::STEP) {
            for second in (first + 1..whole.len() * 8).step_by(11) {
                let mut bad = whole.clone();
                bad[first / 8] ^= 1 << (first % 8);
                bad[second / 8] ^= 1 << (second % 8);
                let found = flipped_in_frame(&bad, seed(), AT);
                assert_eq!(found, None, "bits {first} and {second}");
            }
        }
    }

    #[test]
    fn a_bit_of_a_long_body_is_found() {
        let mut body = vec![3; if cfg!(miri) { 600 } else { 60_000 }];
        let crc = crc32fast::hash(&body);
        for bit in [0, 1, 7, 8, 4_001, body.len() * 8 - 1] {
            body[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(flipped_bit(&body, crc), Some(bit));
            body[bit / 8] ^= 1 << (bit % 8);
        }
        assert_eq!(flipped_bit(&body, crc), None);
        assert_eq!(flipped_bit(&[], crc), None);
    }
}
