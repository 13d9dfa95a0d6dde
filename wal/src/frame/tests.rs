use super::*;

const SECTOR: u64 = 512;

fn seed() -> Seed {
    Seed::new(1, 2, 3)
}

/// A whole frame as bytes.
fn frame(
    kind: FrameKind,
    flags: u8,
    key: &[u8],
    value: &[u8],
    offset: u64,
) -> (FrameHeader, Vec<u8>) {
    let mut header = FrameHeader {
        kind,
        flags,
        key_bytes: u16::try_from(key.len()).unwrap(),
        value_bytes: to_u32(value.len()),
        hash: 0x1122_3344_5566_7788,
        expiry: 99,
        body_crc: 0,
    };
    let mut bytes = vec![0; to_usize(header.frame_bytes(SECTOR))];
    let (key_at, value_at) = (to_usize(HEADER_BYTES), to_usize(header.value_offset()));
    bytes[key_at..key_at + key.len()].copy_from_slice(key);
    bytes[value_at..value_at + value.len()].copy_from_slice(value);
    let table = key_at + key.len()..value_at;
    write_chunk_table(&mut bytes[table.clone()], value);
    if kind.has_body() {
        let covered = if table.is_empty() {
            value_at + value.len()
        } else {
            value_at
        };
        header.body_crc = crc32fast::hash(&bytes[key_at..covered]);
    }
    bytes[..key_at].copy_from_slice(&header.encode(seed(), offset));
    (header, bytes)
}

#[test]
fn every_kind_comes_back_as_it_was_written() {
    for kind in FrameKind::ALL {
        let key: &[u8] = if kind.has_body() { b"key" } else { b"" };
        let (header, bytes) = frame(kind, 0, key, b"some value", 4096);
        assert_eq!(FrameHeader::decode_whole(&bytes, seed(), 4096), Ok(header));
        assert_eq!(header.key(&bytes), key);
        assert_eq!(header.value(&bytes), b"some value");
    }
}

#[test]
fn a_chunked_value_comes_back_and_every_chunk_is_checked() {
    let value: Vec<u8> = (0..200_000_u32).map(|i| i.to_le_bytes()[1]).collect();
    let (header, bytes) = frame(FrameKind::Put, flags::CHUNKED, b"k", &value, 512);
    assert_eq!(header.table_bytes(), 16);
    assert_eq!(FrameHeader::decode_whole(&bytes, seed(), 512), Ok(header));
    for at in [33, 40, 60, 70_000, 199_999] {
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        assert_eq!(
            FrameHeader::decode_whole(&bad, seed(), 512),
            Err(FrameError::BodyCrc),
            "byte {at}"
        );
    }
}

#[test]
fn every_truncated_prefix_is_refused() {
    let (header, bytes) = frame(FrameKind::Put, 0, b"key", b"some value", 4096);
    for len in 0..to_usize(HEADER_BYTES + header.body_bytes()) {
        assert_eq!(
            FrameHeader::decode_whole(&bytes[..len], seed(), 4096),
            Err(FrameError::Short),
            "{len}"
        );
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    let (header, bytes) = frame(FrameKind::Put, 0, b"key", b"some value", 4096);
    for bit in 0..to_usize(HEADER_BYTES + header.body_bytes()) * 8 {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(
            FrameHeader::decode_whole(&bad, seed(), 4096).is_err(),
            "bit {bit}"
        );
    }
}

#[test]
fn a_frame_of_another_place_life_segment_or_cache_is_refused() {
    let (_, bytes) = frame(FrameKind::Put, 0, b"key", b"v", 4096);
    assert!(matches!(
        FrameHeader::decode(&bytes, seed(), 4112),
        Err(FrameError::Place { .. })
    ));
    for other in [Seed::new(9, 2, 3), Seed::new(1, 9, 3), Seed::new(1, 2, 9)] {
        assert!(matches!(
            FrameHeader::decode(&bytes, other, 4096),
            Err(FrameError::HeaderCrc { .. })
        ));
    }
}

#[test]
fn zeros_are_never_a_frame() {
    for offset in [16, 512, 4096, 1 << 20] {
        assert!(FrameHeader::decode(&[0; 64], seed(), offset).is_err());
    }
}

#[test]
fn an_unknown_kind_with_a_good_crc_is_refused() {
    for byte in [0_u8, 9, 255] {
        let mut bytes = FrameHeader::filler(FrameKind::Pad, 0, 0, 0).encode(seed(), 4096);
        bytes[8] = byte;
        let crc = seed().crc(&bytes[4..]);
        bytes[..4].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(
            FrameHeader::decode(&bytes, seed(), 4096),
            Err(FrameError::Impossible)
        );
    }
}

#[test]
fn extents_end_on_a_sector_and_frames_on_sixteen_bytes() {
    let (put, _) = frame(FrameKind::Put, 0, b"k", b"v", 512);
    let (extent, _) = frame(FrameKind::Extent, 0, b"k", b"v", 512);
    assert_eq!(put.frame_bytes(SECTOR), 48);
    assert_eq!(extent.frame_bytes(SECTOR), 512);
}
