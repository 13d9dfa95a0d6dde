use perennial_wal::frame::{FrameHeader, FrameKind, HEADER_BYTES, flags};

use super::*;

/// The frame of a stored value, as far as is looked at here.
fn frame(stored: &[u8], codec: u8) -> (FrameHeader, Vec<u8>) {
    let header = FrameHeader {
        flags: codec & flags::CODEC,
        ..FrameHeader::filler(FrameKind::Put, 0, 0, to_u32(stored.len()))
    };
    let mut bytes = vec![0; to_usize(HEADER_BYTES)];
    bytes.extend_from_slice(stored);
    (header, bytes)
}

#[test]
fn without_a_codec_a_value_is_stored_as_it_is() {
    let value = vec![7; 100_000];
    let (stored, codec) = Compression::None.store(&value);
    assert_eq!((&*stored, codec), (&value[..], 0));
    let (header, frame) = frame(&stored, codec);
    assert_eq!(&*value_of(&header, &frame).unwrap(), &value[..]);
    let part = part_of(&header, &frame, &(99_990..200_000));
    assert_eq!(&*part.unwrap(), &value[99_990..]);
}

#[test]
fn a_codec_that_nobody_knows_is_not_damage() {
    for id in 3..=15 {
        let (header, frame) = frame(&[1; 100], id);
        assert_eq!(value_of(&header, &frame), Err(Unreadable::NoCodec));
    }
}

#[cfg(any(feature = "lz4", feature = "zstd"))]
mod of_this_build {
    use quickcheck::{TestResult, quickcheck};

    use super::*;

    fn codecs() -> Vec<Compression> {
        let all = [
            Compression::Lz4,
            Compression::Zstd(1),
            Compression::Zstd(22),
        ];
        let here = all.into_iter().filter(|codec| codec.check().is_ok());
        here.collect()
    }

    /// What no codec can make smaller.
    fn noise(len: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state.to_le_bytes()[6]
        };
        std::iter::repeat_with(next).take(len).collect()
    }

    /// Pieces that compress well and pieces that do not, by turns.
    fn mixed(len: usize) -> Vec<u8> {
        let mut value = noise(len);
        for chunk in value.chunks_mut(2 * CHUNK) {
            let half = chunk.len() / 2;
            chunk[..half].fill(3);
        }
        value
    }

    const LENGTHS: [usize; 9] = [
        1,
        100,
        CHUNK - 1,
        CHUNK,
        CHUNK + 1,
        2 * CHUNK,
        2 * CHUNK + 1,
        5 * CHUNK,
        5 * CHUNK + 77,
    ];

    /// A few bytes that prove themselves must not make a reader ask for 4 GiB.
    #[test]
    fn no_value_is_larger_than_the_largest_segment() {
        for (value_bytes, good) in [
            (64_u32 << 20, true),
            ((64 << 20) + 1, false),
            (u32::MAX, false),
        ] {
            let chunks = u64::from(value_bytes).div_ceil(CHUNK as u64);
            let mut stored = value_bytes.to_le_bytes().to_vec();
            (0..chunks).for_each(|_| stored.extend(1_u32.to_le_bytes()));
            (0..chunks).for_each(|_| stored.push(7));
            let (header, _) = frame(&stored, 1);
            let (other, _) = frame(&stored, 2);
            for header in [header, other] {
                let layout = Layout::read(&header, &stored);
                let known = readable(&header).is_ok();
                assert_eq!(layout.is_ok(), good && known, "{value_bytes}");
            }
        }
    }

    #[test]
    fn every_range_comes_back() {
        for compression in codecs() {
            for len in LENGTHS {
                for value in [vec![5; len], mixed(len)] {
                    let (stored, codec) = compression.store(&value);
                    assert!(stored.len() <= value.len());
                    let (header, frame) = frame(&stored, codec);
                    assert_eq!(&*value_of(&header, &frame).unwrap(), &value[..]);
                    let border = CHUNK.min(len);
                    for (begin, end) in [
                        (0, 0),
                        (0, 1),
                        (border - 1, border),
                        (border - 1, border + 1),
                        (border, border + 1),
                        (len - 1, len + 9),
                        (len, len + 1),
                        (len / 3, len / 2),
                        (2 * len, 3 * len),
                    ] {
                        let part = part_of(&header, &frame, &(begin as u64..end as u64)).unwrap();
                        let expected = &value[begin.min(len)..end.min(len)];
                        assert_eq!(&*part, expected, "{compression:?} {len} {begin}..{end}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_gets_no_smaller_is_stored_as_it_is() {
        for compression in codecs() {
            for value in [Vec::new(), vec![1], noise(1_000), noise(3 * CHUNK)] {
                let (stored, codec) = compression.store(&value);
                assert_eq!((&*stored, codec), (&value[..], 0), "{compression:?}");
            }
            // One chunk that does, between two that do not: these are there as they are.
            let mut value = noise(3 * CHUNK);
            value[CHUNK..2 * CHUNK].fill(0);
            let (stored, codec) = compression.store(&value);
            assert_ne!(codec, 0);
            assert!((2 * CHUNK..2 * CHUNK + 2_000).contains(&stored.len()));
            assert_eq!(&stored[16..16 + CHUNK], &value[..CHUNK]);
        }
    }

    /// A seventh is saved at most: by the rule not enough for a chunk that saves less than an eighth.
    #[test]
    fn a_chunk_is_compressed_only_where_that_saves_an_eighth() {
        for compression in codecs() {
            let mut saved_enough = [false; 2];
            for zeros in (0..=CHUNK / 2).step_by(1_000) {
                let mut value = noise(CHUNK);
                value[..zeros].fill(0);
                let (stored, codec) = compression.store(&value);
                if codec == 0 {
                    saved_enough[0] = true;
                    assert!(zeros < CHUNK / 8 + 2_000, "{compression:?} {zeros}");
                } else {
                    saved_enough[1] = true;
                    assert!(stored.len() - 8 <= CHUNK - CHUNK / 8);
                }
            }
            assert_eq!(saved_enough, [true; 2]);
        }
    }

    /// Crcs are checked before; what they let pass must not do harm all the same.
    #[test]
    fn bytes_that_no_build_stores_are_damage_or_another_value_and_no_more() {
        for compression in codecs() {
            let value = mixed(3 * CHUNK + 5_000);
            let (stored, codec) = compression.store(&value);
            let judge = |stored: &[u8]| {
                let (header, frame) = frame(stored, codec);
                for range in [0..u64::MAX, 70_000..70_001] {
                    if let Ok(part) = part_of(&header, &frame, &range) {
                        assert!(part.len() <= stored.len() / 4 * CHUNK);
                    }
                }
                value_of(&header, &frame).map(Cow::into_owned)
            };
            assert_eq!(judge(&stored).as_deref(), Ok(&value[..]));
            for len in (0..60).chain([stored.len() - 1]) {
                assert_eq!(
                    judge(&stored[..len]),
                    Err(Unreadable::Damaged),
                    "cut at {len}"
                );
            }
            for at in (0..40).chain((40..stored.len()).step_by(997)) {
                for bit in [0, 7] {
                    let mut bad = stored.to_vec();
                    bad[at] ^= 1 << bit;
                    let read = judge(&bad);
                    // The table says where everything lies: nothing else fits it.
                    assert!(at >= 20 || read != Ok(value.clone()), "byte {at}");
                }
            }
            for field in 0..5 {
                for lie in [0, 1, u32::MAX, 1 << 31, 65_535, 65_537] {
                    let mut bad = stored.to_vec();
                    bad[4 * field..4 * field + 4].copy_from_slice(&lie.to_le_bytes());
                    assert_eq!(judge(&bad), Err(Unreadable::Damaged), "{field} {lie}");
                }
            }
        }
    }

    quickcheck! {
        fn any_value_and_range_come_back(bytes: Vec<u8>, times: u16, begin: u32, len: u16) -> TestResult {
            if bytes.is_empty() {
                return TestResult::discard();
            }
            let len_max = 4 * CHUNK;
            let value: Vec<u8> = bytes.iter().copied().cycle().take(bytes.len() * usize::from(times)).take(len_max).collect();
            for compression in codecs() {
                let (stored, codec) = compression.store(&value);
                let (header, frame) = frame(&stored, codec);
                if value_of(&header, &frame).ok().as_deref() != Some(&value[..]) {
                    return TestResult::failed();
                }
                let begin = to_usize(u64::from(begin)) % (value.len() + 1);
                let end = begin + usize::from(len);
                let part = part_of(&header, &frame, &(begin as u64..end as u64));
                if part.ok().as_deref() != Some(&value[begin..end.min(value.len())]) {
                    return TestResult::failed();
                }
            }
            TestResult::passed()
        }
    }
}
