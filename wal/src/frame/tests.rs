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
    for at in [33, 40, 60, 70_000, 199_999]
        .into_iter()
        .step_by(crate::STEP)
    {
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
    for bit in (0..to_usize(HEADER_BYTES + header.body_bytes()) * 8).step_by(crate::STEP) {
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
    for byte in [0_u8, 11, 255] {
        let mut bytes = FrameHeader::filler(FrameKind::Pad, 0, 0, 0).encode(seed(), 4096);
        bytes[8] = byte;
        let crc = seed().crc(&bytes);
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

#[test]
fn a_mark_says_what_its_flags_say_and_nothing_else_does() {
    for kind in FrameKind::ALL {
        for bit in 0..8 {
            let flags = 1 << bit;
            let header = FrameHeader::filler(kind, flags, 0, 0);
            let mark = kind == FrameKind::Mark;
            assert_eq!(header.is_clean_mark(), mark && flags == flags::CLEAN);
            assert_eq!(header.is_last_mark(), mark && flags == flags::LAST);
        }
    }
}

#[test]
fn a_trailer_has_rows_for_operations_heads_and_what_forgets() {
    for kind in FrameKind::ALL {
        for flags in [0, flags::FORGET, flags::CHUNKED] {
            let header = FrameHeader::filler(kind, flags, 0, 0);
            let expected = match kind {
                FrameKind::Put
                | FrameKind::Ref
                | FrameKind::Remove
                | FrameKind::Head
                | FrameKind::Move
                | FrameKind::Clear => true,
                FrameKind::Pad => flags == flags::FORGET,
                FrameKind::Mark | FrameKind::Extent | FrameKind::Part => false,
            };
            assert_eq!(header.has_row(), expected, "{kind:?} {flags:#x}");
        }
    }
}

#[test]
fn filler_is_anything_and_a_body_is_not() {
    for kind in FrameKind::ALL {
        let (_, mut bytes) = frame(kind, 0, b"", b"some value", 4096);
        bytes[35] ^= 1;
        let read = FrameHeader::decode_whole(&bytes, seed(), 4096);
        let filler = matches!(kind, FrameKind::Remove | FrameKind::Mark | FrameKind::Pad);
        assert_eq!(read.is_ok(), filler, "{kind:?}");
    }
}

#[test]
fn a_frame_names_its_place_in_units_of_sixteen_bytes() {
    let (_, bytes) = frame(FrameKind::Put, 0, b"key", b"v", 4096);
    assert_eq!(bytes[4..8], [0, 1, 0, 0]);
    assert!(names_place(&bytes, 4096));
    assert!(!names_place(&bytes, 4112));
    assert!(!names_place(&bytes[..7], 4096));
}
