//! Makes crcs fit bytes that a fuzzer has changed. What is too short to have one is left as it is.

use perennial_wal::frame::{FrameError, FrameHeader, Seed, flags, write_chunk_table};
use perennial_wal::to_usize;

/// Of cache, segment and life of what the smaller targets decode.
pub(crate) fn seed() -> Seed {
    Seed::new(1, 2, 3)
}

fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// The place and the crc of the frame header at the start of `bytes`.
pub(crate) fn frame_header(bytes: &mut [u8], seed: Seed, offset: u64) {
    if bytes.len() < 32 {
        return;
    }
    let place = u32::try_from(offset / 16).expect("offsets in a segment");
    put_u32(bytes, 4, place);
    // The decoder says which crc it wants.
    if let Err(FrameError::HeaderCrc { expected, .. }) = FrameHeader::decode(bytes, seed, offset) {
        put_u32(bytes, 0, expected);
    }
}

/// The chunk table and the body crc of the frame at the start of `bytes`, as its header has its sizes.
pub(crate) fn frame_body(bytes: &mut [u8]) {
    if bytes.len() < 32 {
        return;
    }
    let key_bytes = usize::from(u16::from_le_bytes([bytes[10], bytes[11]]));
    let value_bytes = to_usize(u64::from(u32_at(bytes, 12)));
    let chunked = bytes[9] & flags::CHUNKED != 0;
    let table_bytes = if chunked {
        value_bytes.div_ceil(64 << 10) * 4
    } else {
        0
    };
    let value_at = 32 + key_bytes + table_bytes;
    if value_at + value_bytes > bytes.len() {
        return;
    }
    let covered = if chunked {
        let (before, value) = bytes.split_at_mut(value_at);
        write_chunk_table(&mut before[32 + key_bytes..], &value[..value_bytes]);
        value_at
    } else {
        value_at + value_bytes
    };
    let crc = crc32fast::hash(&bytes[32..covered]);
    put_u32(bytes, 28, crc);
}

/// The crc at `at`, of everything else in `bytes`.
fn crc_inside(bytes: &mut [u8], at: usize) {
    if bytes.len() < at + 4 {
        return;
    }
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..at]);
    hasher.update(&bytes[at + 4..]);
    put_u32(bytes, at, hasher.finalize());
}

/// One copy of a segment's header: 512 bytes.
pub(crate) fn header_copy(copy: &mut [u8]) {
    crc_inside(copy, 12);
}

/// One copy of the identity in a tail's head: 96 bytes.
pub(crate) fn tail_identity(copy: &mut [u8]) {
    crc_inside(copy, 12);
}

/// A stable word of a tail's head and its complement: 16 bytes.
pub(crate) fn stable_word(pair: &mut [u8]) {
    if let Some((word, complement)) = pair.split_at_mut_checked(8) {
        word[7] = 0;
        word[7] = crc32fast::hash(word).to_le_bytes()[0];
        let inverted = word.iter().map(|byte| !byte);
        complement
            .iter_mut()
            .zip(inverted)
            .for_each(|(to, from)| *to = from);
    }
}

/// Rows and fixed part of a trailer, from the first row to the end of the segment.
pub(crate) fn trailer(rows_and_fixed: &mut [u8]) {
    if let Some(fixed_at) = rows_and_fixed.len().checked_sub(64) {
        crc_inside(rows_and_fixed, fixed_at + 8);
    }
}

/// A structure of the codec, the length in its header and its crc.
pub(crate) fn codec(bytes: &mut [u8]) {
    if let Some(payload) = bytes.get(10..) {
        let (len, crc) = (payload.len(), crc32fast::hash(payload));
        put_u32(bytes, 2, u32::try_from(len).expect("short inputs"));
        put_u32(bytes, 6, crc);
    }
}

/// The same, as long as its header says and the bytes reach.
pub(crate) fn codec_in_place(bytes: &mut [u8]) {
    if bytes.len() < 10 {
        return;
    }
    let end = to_usize(u64::from(u32_at(bytes, 2))) + 10;
    let end = end.min(bytes.len());
    codec(&mut bytes[..end]);
}
