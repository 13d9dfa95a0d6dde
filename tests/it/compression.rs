//! Values that are stored smaller than they are come back as they were, and what this build cannot read is a miss.

use std::path::Path;

use perennial::{Compression, ErrorKind, InsertOptions};
use perennial_failpoints::SimFs;
use perennial_wal::frame::{FrameHeader, HEADER_BYTES, Seed};

use crate::small::{DIR, open, options};

/// The first bytes of a segment's header: its cache, its number, the life of its first join.
fn word(segment: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(segment[at..at + 8].try_into().unwrap())
}

/// Says in the frame of `value` that it is stored with the codec of this id, as a build that has it would have written it.
fn claim_codec(fs: &SimFs, value: &[u8], key_bytes: usize, codec: u8) {
    for name in fs.file_names(Path::new(DIR)) {
        let path = Path::new(DIR).join(&name);
        let mut bytes = fs.read_file(&path).unwrap();
        let found = bytes.windows(value.len()).position(|bytes| bytes == value);
        let Some(at) = found.filter(|_| name.starts_with("seg-")) else {
            continue;
        };
        let begin = at - key_bytes - usize::try_from(HEADER_BYTES).unwrap();
        let seed = Seed::new(word(&bytes, 0x10), word(&bytes, 0x18), word(&bytes, 0x54));
        let mut header = FrameHeader::decode_whole(&bytes[begin..], seed, begin as u64).unwrap();
        header.flags |= codec;
        let header = header.encode(seed, begin as u64);
        bytes[begin..begin + header.len()].copy_from_slice(&header);
        fs.write_file(&path, &bytes);
        return;
    }
    panic!("the value is in no segment");
}

/// A codec of a later version, and those that this build was made without.
fn codecs_not_here() -> Vec<u8> {
    let here = |compression| {
        let how = InsertOptions::new().compression(compression);
        let cache = open(&SimFs::new(1), options()).unwrap();
        cache.insert_with("k", "v", how).is_ok()
    };
    let mut ids = vec![15];
    ids.extend((!here(Compression::Lz4)).then_some(1));
    ids.extend((!here(Compression::Zstd(3))).then_some(2));
    ids
}

#[test]
fn a_codec_that_is_not_here_is_a_counted_miss() {
    for codec in codecs_not_here() {
        let fs = SimFs::new(1);
        let cache = open(&fs, options()).unwrap();
        let value = [0xa7; 700];
        cache.insert("coded", value).unwrap();
        cache.insert("plain", [1; 50]).unwrap();
        cache.close().unwrap();
        // Another boot: what is in the ring counts no more.
        let fs = fs.power_loss(1);
        claim_codec(&fs, &value, 5, codec);
        let cache = open(&fs, options()).unwrap();
        assert!(cache.get("coded").unwrap().is_none());
        assert!(!cache.contains("coded").unwrap());
        assert!(cache.get_range("coded", 0..9).unwrap().is_none());
        assert!(!cache.get_into("coded", &mut Vec::new()).unwrap());
        assert!(cache.get("plain").unwrap().is_some());
        let stats = cache.stats();
        assert_eq!((stats.codec_misses, stats.damaged_reads), (4, 0));
        assert_eq!(stats.entries, 2, "a build that has it finds it again");
        let fetched = cache.get_or_fetch("coded", || Ok::<_, String>(vec![2; 9]));
        assert_eq!(&fetched.unwrap()[..], [2; 9]);
        assert_eq!(&cache.get("coded").unwrap().unwrap()[..], [2; 9]);
    }
}

fn refused(compression: Compression) -> bool {
    let cache = open(&SimFs::new(1), options()).unwrap();
    cache.insert("k", "older").unwrap();
    let how = InsertOptions::new().compression(compression);
    let Err(error) = cache.insert_with("k", "newer", how) else {
        return false;
    };
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("choose"), "{error}");
    assert_eq!(&cache.get("k").unwrap().unwrap()[..], b"older");
    let opened = open(&SimFs::new(1), options().compression(compression));
    assert_eq!(opened.unwrap_err().kind(), ErrorKind::Invalid);
    true
}

#[test]
fn what_cannot_be_compressed_with_is_refused() {
    for level in [0, -1, 23, i32::MAX] {
        assert!(refused(Compression::Zstd(level)), "{level}");
    }
    assert_eq!(refused(Compression::Lz4), !cfg!(feature = "lz4"));
    assert_eq!(refused(Compression::Zstd(1)), !cfg!(feature = "zstd"));
    assert!(!refused(Compression::None));
}

#[cfg(any(feature = "lz4", feature = "zstd"))]
mod of_this_build {
    use std::time::Duration;

    use perennial::{Cache, Eviction, Options, Priority};

    use super::*;
    use crate::small::Rng;

    fn codecs() -> Vec<Compression> {
        let mut codecs = Vec::new();
        if cfg!(feature = "lz4") {
            codecs.push(Compression::Lz4);
        }
        if cfg!(feature = "zstd") {
            codecs.push(Compression::Zstd(3));
        }
        codecs
    }

    const CHUNK: usize = 64 << 10;

    /// Text that compresses to about a quarter, with noise in every fourth kilobyte; or nothing but noise.
    fn value(seed: u64, len: usize) -> Vec<u8> {
        let mut rng = Rng(seed);
        let mut noise = || u8::try_from(rng.below(256)).unwrap();
        let only_noise = seed % 4 == 3;
        let byte = |n: usize| {
            if only_noise || (n / 1024).is_multiple_of(4) {
                noise()
            } else {
                b"a value that says the same again and again "[n % 43]
            }
        };
        (0..len).map(byte).collect()
    }

    fn large(compression: Compression) -> Options {
        Options::new()
            .capacity_bytes(32 << 20)
            .segment_bytes(2 << 20)
            .tail_bytes(1 << 20)
            .compression(compression)
            .background(false)
    }

    fn check(cache: &Cache, key: &str, value: &[u8]) {
        let len = value.len() as u64;
        assert_eq!(&cache.get(key).unwrap().expect(key)[..], value, "{key}");
        let mut buf = vec![9; 9];
        assert!(
            cache.get_into(key, &mut buf).unwrap() && buf == value,
            "{key}"
        );
        assert!(cache.contains(key).unwrap());
        for (begin, end) in [
            (0, 10),
            (65_530, 65_540),
            (65_536, 65_537),
            (len / 2, len),
            (len, len + 1),
            (100, 200_000),
        ] {
            let part = cache.get_range(key, begin..end).unwrap().expect(key);
            let cut = |at: u64| usize::try_from(at.min(len)).unwrap();
            assert_eq!(
                &part[..],
                &value[cut(begin)..cut(end)],
                "{key} {begin}..{end}"
            );
        }
    }

    /// Empty, small, at the borders of chunks, as extents beyond the ring.
    const LENGTHS: [usize; 10] = [
        0,
        1,
        500,
        CHUNK - 1,
        CHUNK,
        CHUNK + 1,
        2 * CHUNK,
        3 * CHUNK + 7,
        900_000,
        1_500_000,
    ];

    #[test]
    fn what_was_compressed_comes_back_from_everywhere() {
        for compression in codecs() {
            for tier in [0, 16 << 20] {
                let fs = SimFs::new(1);
                let options = || large(compression).memory_tier_bytes(tier);
                let cache = open(&fs, options()).unwrap();
                let entries: Vec<(String, Vec<u8>)> = LENGTHS
                    .iter()
                    .enumerate()
                    .map(|(n, len)| (format!("k{n}"), value(n as u64, *len)))
                    .collect();
                for (key, value) in &entries {
                    cache.insert(key, value).unwrap();
                    check(&cache, key, value);
                }
                let stats = cache.stats();
                assert!(stats.stored_bytes < stats.insert_bytes * 3 / 4, "{stats:?}");
                cache.flush().unwrap();
                entries
                    .iter()
                    .for_each(|(key, value)| check(&cache, key, value));
                entries
                    .iter()
                    .for_each(|(key, value)| check(&cache, key, value));
                let killed = fs.process_crash();
                cache.close().unwrap();
                for disk in [&fs, &killed] {
                    // What is stored says how; the options only say what comes.
                    let cache = open(disk, large(Compression::None)).unwrap();
                    entries
                        .iter()
                        .for_each(|(key, value)| check(&cache, key, value));
                    let stats = cache.stats();
                    assert_eq!((stats.damaged_reads, stats.codec_misses), (0, 0));
                }
            }
        }
    }

    #[test]
    fn an_insert_says_how_by_itself() {
        for compression in codecs() {
            let cache = open(&SimFs::new(1), large(Compression::None)).unwrap();
            let text = value(0, 300_000);
            cache.insert("plain", &text).unwrap();
            let plain = cache.stats().stored_bytes;
            let how = InsertOptions::new().compression(compression);
            cache
                .insert_with("coded", &text, how.checksum(crc32fast_of(&text)))
                .unwrap();
            let coded = cache.stats().stored_bytes - plain;
            assert!(plain >= 300_000 && coded < 200_000, "{plain} {coded}");
            check(&cache, "plain", &text);
            check(&cache, "coded", &text);
            // The other way round; and what a closure fills is stored as it is.
            let cache = open(&SimFs::new(1), large(compression)).unwrap();
            let how = InsertOptions::new().compression(Compression::None);
            cache.insert_with("plain", &text, how).unwrap();
            let fill = |buf: &mut [u8]| {
                buf.copy_from_slice(&text);
                Ok::<_, String>(())
            };
            cache.insert_with_len("filled", text.len(), fill).unwrap();
            let huge = value(0, 1_800_000);
            let fill = |buf: &mut [u8]| {
                buf.copy_from_slice(&huge);
                Ok::<_, String>(())
            };
            cache.insert_with_len("huge", huge.len(), fill).unwrap();
            let stats = cache.stats();
            assert_eq!(stats.stored_bytes, stats.insert_bytes);
            check(&cache, "filled", &text);
            check(&cache, "huge", &huge);
            let fetched = cache.get_or_fetch("fetched", || Ok::<_, String>(text.clone()));
            assert_eq!(&fetched.unwrap()[..], &text[..]);
            let stats = cache.stats();
            assert!(stats.stored_bytes < stats.insert_bytes);
            check(&cache, "fetched", &text);
        }
    }

    fn crc32fast_of(value: &[u8]) -> u32 {
        crate::inserts_with_options::crc32(value)
    }

    #[test]
    fn a_bad_bit_in_a_compressed_chunk_is_a_damaged_miss() {
        for compression in codecs() {
            for len in [3_217, 5 * CHUNK - 333, 1_500_333] {
                let fs = SimFs::new(1);
                let options = || large(compression).memory_tier_bytes(0);
                let cache = open(&fs, options()).unwrap();
                let marked = value(1, len);
                cache.insert("k", &marked).unwrap();
                cache.insert("other", "v").unwrap();
                // Out of the ring, and out of the segment that an open walks.
                for n in 0..4_u64 {
                    cache.insert(n.to_le_bytes(), value(3, 900_000)).unwrap();
                }
                cache.close().unwrap();
                // What is stored begins with the value's length and a length for each chunk.
                let begins = u32::try_from(len).unwrap().to_le_bytes();
                let flipped = fs.file_names(Path::new(DIR)).into_iter().any(|name| {
                    let path = Path::new(DIR).join(&name);
                    let mut bytes = fs.read_file(&path).unwrap();
                    let found = bytes.windows(4).position(|window| window == begins);
                    let at = found.filter(|_| name.starts_with("seg-"));
                    if let Some(at) = at {
                        bytes[at + 4 + 4 * len.div_ceil(CHUNK) + 300] ^= 4;
                        fs.write_file(&path, &bytes);
                    }
                    at.is_some()
                });
                assert!(flipped, "{compression:?} {len}");
                let cache = open(&fs, options()).unwrap();
                if len > CHUNK {
                    let far = cache.get_range("k", len as u64 - 10..len as u64).unwrap();
                    // The first chunk of what is stored says where the others lie, so it is read, too.
                    assert!(far.is_none_or(|far| far[..] == marked[len - 10..]));
                }
                assert!(cache.get("k").unwrap().is_none(), "{compression:?} {len}");
                assert_eq!(cache.stats().damaged_reads, 1);
                assert!(cache.get("other").unwrap().is_some());
            }
        }
    }

    /// Copies are of what is stored; priorities, ends and codecs go along.
    #[test]
    fn what_is_copied_is_still_compressed() {
        for compression in codecs() {
            for eviction in [Eviction::Fifo, Eviction::Clock, Eviction::S3Merge] {
                let fs = SimFs::new(1);
                let options = || {
                    crate::small::options()
                        .capacity_bytes(256 << 10)
                        .memory_tier_bytes(0)
                        .eviction(eviction)
                        .compression(compression)
                };
                let cache = open(&fs, options()).unwrap();
                let entries: Vec<(String, Vec<u8>)> = (0..10)
                    .map(|n| (format!("p{n}"), vec![u8::try_from(n).unwrap(); 400 * n]))
                    .collect();
                for (n, (key, value)) in entries.iter().enumerate() {
                    let pinned = InsertOptions::new().priority(Priority::Pinned);
                    let how = if n % 2 == 0 {
                        pinned.ttl(Duration::from_secs(900))
                    } else {
                        pinned
                    };
                    cache.insert_with(key, value, how).unwrap();
                }
                for n in 0..3_000_u64 {
                    cache
                        .insert(n.to_le_bytes(), value(4 * n + 3, 300))
                        .unwrap();
                }
                assert!(cache.stats().moved >= 10);
                let there = |cache: &Cache| {
                    entries
                        .iter()
                        .filter(|(key, value)| {
                            cache
                                .get(key)
                                .unwrap()
                                .is_some_and(|found| found[..] == value[..])
                        })
                        .count()
                };
                assert_eq!(there(&cache), 10);
                cache.close().unwrap();
                let cache = open(&fs, options()).unwrap();
                assert_eq!(there(&cache), 10);
                fs.advance(1_000_000);
                assert_eq!(there(&cache), 5);
                assert_eq!(cache.stats().damaged_reads, 0);
            }
        }
    }
}
