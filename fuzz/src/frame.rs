//! A frame: whatever proves itself is written as it was read, and nothing that lacks a byte or has another bit does.
//!
//! Input: what to forge, place, the frame's bytes.

use perennial_wal::frame::{FrameError, FrameHeader, FrameKind, HEADER_BYTES, flags};
use perennial_wal::to_usize;

use super::Seed;
use super::forge;
use super::input::Input;

const FORGE_HEADER: u8 = 1;
const FORGE_BODY: u8 = 2;

pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let (forged, place) = (input.u8(), input.u16());
    let offset = (u64::from(place) + 1) * 16;
    let mut bytes = input.rest().to_vec();
    if forged & FORGE_BODY != 0 {
        forge::frame_body(&mut bytes);
    }
    if forged & FORGE_HEADER != 0 {
        forge::frame_header(&mut bytes, forge::seed(), offset);
    }
    let whole = FrameHeader::decode_whole(&bytes, forge::seed(), offset);
    match FrameHeader::decode(&bytes, forge::seed(), offset) {
        Ok(header) => {
            let again = header.encode(forge::seed(), offset);
            assert_eq!(again[..], bytes[..again.len()], "{header:?}");
            for sector in [512, 4096] {
                let frame_bytes = header.frame_bytes(sector);
                assert!(frame_bytes.is_multiple_of(16));
                assert!(frame_bytes >= HEADER_BYTES + header.body_bytes());
            }
            check_body(header, whole, &bytes, offset);
        }
        Err(why) => assert_eq!(whole, Err(why)),
    }
}

fn check_body(
    header: FrameHeader,
    whole: Result<FrameHeader, FrameError>,
    bytes: &[u8],
    offset: u64,
) {
    match whole {
        Ok(read) => assert_eq!(read, header),
        Err(why) => {
            assert!(matches!(why, FrameError::Short | FrameError::BodyCrc));
            return;
        }
    }
    if !header.kind.has_body() {
        return;
    }
    let end = to_usize(HEADER_BYTES + header.body_bytes());
    let (key, value) = (header.key(bytes), header.value(bytes));
    assert_eq!(
        32 + key.len() + to_usize(header.table_bytes()) + value.len(),
        end
    );
    let seed = forge::seed();
    if end > 32 {
        let cut = FrameHeader::decode_whole(&bytes[..end - 1], seed, offset);
        assert_eq!(cut, Err(FrameError::Short));
    }
    for bit in [0, end * 4, end * 8 - 1] {
        let mut bad = bytes.to_vec();
        bad[bit / 8] ^= 1 << (bit % 8);
        let read = FrameHeader::decode_whole(&bad, seed, offset);
        assert!(read.is_err(), "bit {bit} of {end} bytes");
    }
}

/// A whole frame at `offset`.
pub(crate) fn frame(kind: FrameKind, flags: u8, key: &[u8], value: &[u8], offset: u64) -> Vec<u8> {
    let header = FrameHeader {
        kind,
        flags,
        key_bytes: u16::try_from(key.len()).expect("short keys"),
        value_bytes: u32::try_from(value.len()).expect("short values"),
        hash: 0x1234_5678,
        expiry: 0,
        body_crc: 0,
    };
    let mut bytes = header.encode(forge::seed(), offset).to_vec();
    bytes.extend_from_slice(key);
    bytes.resize(to_usize(header.value_offset()), 0);
    bytes.extend_from_slice(value);
    if kind.has_body() {
        forge::frame_body(&mut bytes);
    }
    bytes.resize(to_usize(header.frame_bytes(512)), 0);
    forge::frame_header(&mut bytes, forge::seed(), offset);
    bytes
}

pub fn seeds() -> Vec<Seed> {
    let place = 255_u16;
    let one = |name: &str, forged: u8, kind, flags, key: &[u8], value: &[u8]| {
        let mut input = vec![forged];
        input.extend(place.to_le_bytes());
        input.extend(frame(kind, flags, key, value, 4096));
        (name.to_owned(), input)
    };
    vec![
        one("put", 0, FrameKind::Put, 0, b"key", b"some value"),
        one("put-forged", 3, FrameKind::Put, 0, b"key", b"some value"),
        one(
            "chunked",
            3,
            FrameKind::Put,
            flags::CHUNKED,
            b"key",
            &[7; 100],
        ),
        one("ref", 1, FrameKind::Ref, 0, b"key", &[0; 16]),
        one("remove", 1, FrameKind::Remove, 0, b"", b"filler"),
        one("mark", 1, FrameKind::Mark, flags::LAST, b"", b""),
        one("extent", 3, FrameKind::Extent, 0, b"key", &[1; 40]),
        one("pad", 1, FrameKind::Pad, flags::FORGET, b"", &[0; 16]),
    ]
}
