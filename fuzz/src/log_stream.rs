//! A segment's bytes, and a ring's, through the walk: every frame it gives proves itself where it says, the steps follow
//! each other, and it ends.
//!
//! Input: lives of the segment, whether there is a ring, what was reserved, places to forge frames at, the bytes.

use perennial_wal::frame::{FrameHeader, FrameKind, flags};
use perennial_wal::segment::{FIXED_BYTES, SegmentHeader};
use perennial_wal::{EXTENT_REF_BYTES, ExtentRef, Item, Lsn, SegmentBytes, to_usize};

use super::Seed;
use super::forge;
use super::input::Input;
use super::segment_header::header;

const SEGMENT_BYTES: u32 = 8192;
const RING_BYTES: usize = 4096;
/// Where the first life's frames begin: what lies before is the header, which is not walked.
const BEGIN: usize = 1024;
/// No more places than this are forged.
const MAX_FORGED: u8 = 16;

pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let (lives, with_ring) = (u32::from(input.u8() % 4) + 1, input.u8() & 1 == 1);
    let reserved_to = u64::from(input.u16());
    let forged: Vec<u16> = (0..input.u8() % MAX_FORGED).map(|_| input.u16()).collect();
    let header = header(lives, 1, 2, SEGMENT_BYTES);
    let bytes = input.rest();
    let (in_file, in_ring) =
        bytes.split_at(bytes.len().min(to_usize(u64::from(SEGMENT_BYTES)) - BEGIN));
    let mut file = [&[0; BEGIN], in_file].concat();
    let mut ring = vec![0; if with_ring { RING_BYTES } else { 0 }];
    let ring_bytes = in_ring.len().min(ring.len());
    ring[..ring_bytes].copy_from_slice(&in_ring[..ring_bytes]);
    for place in forged {
        forge_at(&header, place, &mut file, &mut ring);
    }
    let segment = SegmentBytes {
        header: &header,
        file: &file,
        unread: &[],
        ring: &ring,
        reserved_to,
    };
    check(&segment, &segment.walk());
}

/// Low bits: also the body; in the ring.
fn forge_at(header: &SegmentHeader, place: u16, file: &mut [u8], ring: &mut [u8]) {
    let offset = u64::from(place) / 16 * 16 % u64::from(SEGMENT_BYTES);
    if offset == 0 {
        return;
    }
    let (memory, at) = if place & 2 == 0 || ring.is_empty() {
        (file, to_usize(offset))
    } else {
        let at = to_usize(u64::from(SEGMENT_BYTES) * header.number.0 + offset) % ring.len();
        (ring, at)
    };
    if let Some(frame) = memory.get_mut(at..) {
        if place & 1 == 1 {
            forge::frame_body(frame);
        }
        forge::frame_header(frame, header.seed_at(offset), offset);
    }
}

fn check(segment: &SegmentBytes<'_>, items: &[Item]) {
    let segment_bytes = u64::from(SEGMENT_BYTES);
    let limit = segment.lsn(segment_bytes - FIXED_BYTES);
    let mut at = segment.lsn(0);
    for item in items {
        assert!(item.lsn() >= at, "{item:?} lies before {at}");
        match item {
            Item::Frame(frame) => {
                let offset = frame.lsn.offset(segment_bytes);
                let bytes = if frame.in_ring {
                    segment.in_ring(offset)
                } else {
                    segment.in_file(offset)
                };
                let seed = segment.header.seed_at(offset);
                let whole = FrameHeader::decode_whole(bytes, seed, offset);
                assert_eq!(whole, Ok(frame.header));
                assert_eq!(frame.row.is_some(), frame.header.has_row());
                at = frame.lsn.plus(frame.bytes);
            }
            Item::Gap(gap) => {
                assert!(gap.end > gap.lsn && gap.end <= limit, "{gap:?}");
                assert_eq!(gap.trailing, gap.end == limit, "{gap:?}");
                at = gap.end;
            }
        }
    }
}

/// Frames one after the other, as a life writes them.
fn stream() -> Vec<u8> {
    let mut bytes: Vec<u8> = Vec::new();
    let mut add = |kind, flags, key: &[u8], value: &[u8]| {
        let offset = (BEGIN + bytes.len()) as u64;
        bytes.extend(super::frame::frame(kind, flags, key, value, offset));
    };
    let extent = ExtentRef {
        lsn: Lsn(u64::from(SEGMENT_BYTES) * 2 + 4096),
        bytes: 100,
    };
    let extent: [u8; EXTENT_REF_BYTES] = extent.encode();
    add(FrameKind::Put, 0, b"key-1", &[1; 70]);
    add(FrameKind::Put, 0, b"key-2", &[2; 200]);
    add(FrameKind::Remove, 0, b"", &[0; 5]);
    add(FrameKind::Ref, 0, b"key-3", &extent);
    add(FrameKind::Pad, flags::FORGET, b"", &[0; 32]);
    add(FrameKind::Put, flags::CHUNKED, b"key-4", &[4; 90]);
    add(FrameKind::Mark, flags::CLEAN, b"", b"");
    bytes
}

pub fn seeds() -> Vec<Seed> {
    let stream = stream();
    let one = |name: &str, lives: u8, ring: u8, forged: &[u16], bytes: &[u8]| {
        let mut input = vec![lives - 1, ring];
        input.extend(8192_u16.to_le_bytes());
        input.push(u8::try_from(forged.len()).expect("few"));
        forged.iter().for_each(|at| input.extend(at.to_le_bytes()));
        input.extend(bytes);
        (name.to_owned(), input)
    };
    let mut both = stream.clone();
    both.resize(to_usize(u64::from(SEGMENT_BYTES)) - BEGIN, 0);
    both.resize(both.len() + BEGIN, 0);
    both.extend(&stream);
    vec![
        one("one-life", 1, 0, &[], &stream),
        one("forged", 1, 0, &[1024 | 1, 1152 | 1, 2048 | 1], &stream),
        one("in-the-ring", 1, 1, &[2048 | 3], &both),
        one(
            "four-lives",
            4,
            0,
            &[1024 | 1, 2048 | 1, 3072 | 1, 4096 | 1],
            &stream.repeat(6),
        ),
    ]
}
