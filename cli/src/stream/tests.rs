//! The codec: round trip, every prefix, every flipped byte and bit.

use perennial::Priority;

use super::*;

/// A stream of entries of all kinds, as `Writer` makes it. `perennial::Entry` is only made by a cache.
fn stream() -> (Vec<Entry>, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    let options = perennial::Options::new().capacity_bytes(4 << 20);
    let cache = perennial::Cache::open(dir.path(), options).unwrap();
    let entry = |key: &[u8], value: &[u8], priority, ends_at_s| Entry {
        key: key.to_vec(),
        value: value.to_vec(),
        priority,
        ends_at_s,
    };
    let entries = vec![
        entry(b"a", b"", Priority::Normal, None),
        entry(b"b\xff", b"value", Priority::Low, Some(u32::MAX)),
        entry(&[7; 300], &[9; 50], Priority::Pinned, None),
    ];
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes).unwrap();
    for entry in &entries {
        let options = perennial::InsertOptions::new().priority(entry.priority);
        let options = match entry.ends_at_s {
            Some(second) => options.ends_at_s(second),
            None => options,
        };
        cache
            .insert_with(&entry.key, &entry.value, options)
            .unwrap();
        let stored = cache.entry(&entry.key).unwrap().unwrap();
        writer.add(&entry.key, &stored).unwrap();
    }
    assert_eq!(writer.entries(), 3);
    let len = writer.finish().unwrap();
    assert_eq!(len, bytes.len() as u64);
    (entries, bytes)
}

fn read(bytes: &[u8]) -> Result<Vec<Entry>, StreamError> {
    let stream_error = |error| match error {
        ReadError::Stream(error) => error,
        ReadError::Io(error) => panic!("{error}"),
    };
    let mut reader = Reader::new(bytes).map_err(stream_error)?;
    let mut entries = Vec::new();
    while let Some(entry) = reader.next_entry().map_err(stream_error)? {
        entries.push(entry);
    }
    assert_eq!(reader.offset(), bytes.len() as u64);
    Ok(entries)
}

#[test]
fn what_is_written_is_read() {
    let (entries, bytes) = stream();
    assert_eq!(read(&bytes), Ok(entries));
    let empty = {
        let mut bytes = Vec::new();
        Writer::new(&mut bytes).unwrap().finish().unwrap();
        bytes
    };
    assert_eq!((empty.len(), read(&empty)), (48, Ok(Vec::new())));
}

#[test]
fn the_bytes_are_those_of_the_documentation() {
    let (_, bytes) = stream();
    assert_eq!(&bytes[..12], b"PRNLEXPT\x01\0\0\0");
    assert_eq!(&bytes[16..28], b"\x45\0\x01\0\0\0\0\0\0\0\0\0");
    assert_eq!(bytes[32], b'a');
    assert_eq!(&bytes[33..45], b"\x45\x01\x02\0\x05\0\0\0\xff\xff\xff\xff");
    assert_eq!(&bytes[49..56], b"b\xffvalue");
    let trailer = &bytes[bytes.len() - 32..];
    assert_eq!(&trailer[..16], b"\x5a\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0");
    let before = bytes.len() as u64 - 32;
    assert_eq!(trailer[16..24], before.to_le_bytes());
}

/// Where the parts of [`stream`] begin.
const PARTS: [u64; 4] = [16, 33, 56, 422];

#[test]
fn every_prefix_is_refused_where_its_last_part_begins() {
    let (_, bytes) = stream();
    for len in 0..bytes.len() {
        let begun = PARTS.into_iter().rfind(|at| *at <= len as u64);
        let expected = match begun {
            Some(at) => StreamError::Truncated { at },
            None => StreamError::Foreign,
        };
        assert_eq!(read(&bytes[..len]), Err(expected), "{len}");
    }
}

#[test]
fn every_flipped_byte_and_bit_is_refused() {
    let (_, bytes) = stream();
    for at in 0..bytes.len() {
        for flip in [1, 2, 4, 8, 16, 32, 64, 128, 255] {
            let mut flipped = bytes.clone();
            flipped[at] ^= flip;
            assert!(read(&flipped).is_err(), "{at} {flip:#x}");
        }
    }
}

#[test]
fn entries_that_are_left_out_twice_or_elsewhere_are_missed() {
    let (_, bytes) = stream();
    let (head, first, second) = (&bytes[..16], &bytes[16..33], &bytes[33..56]);
    let rest = &bytes[56..];
    let spliced = |parts: &[&[u8]]| read(&parts.concat()).unwrap_err();
    let is_count = |error| {
        matches!(
            error,
            StreamError::Count {
                what: "entries",
                ..
            }
        )
    };
    assert!(is_count(spliced(&[head, second, rest])));
    assert!(is_count(spliced(&[head, first, first, second, rest])));
    assert!(matches!(
        spliced(&[head, second, first, rest]),
        StreamError::Sum { .. }
    ));
    let beyond = StreamError::Beyond {
        at: bytes.len() as u64,
    };
    assert_eq!(spliced(&[&bytes, b"x"]), beyond);
}

#[test]
fn another_version_is_told_from_damage() {
    let (_, mut bytes) = stream();
    bytes[8] = 2;
    assert!(matches!(read(&bytes), Err(StreamError::Crc { at: 0, .. })));
    let crc = crc32fast::hash(&bytes[..12]).to_le_bytes();
    bytes[12..16].copy_from_slice(&crc);
    assert_eq!(read(&bytes), Err(StreamError::Version(2)));
}

/// Lengths are not believed before they are proved: neither memory nor time for what is not there.
#[test]
fn a_length_that_lies_costs_nothing() {
    let (_, mut bytes) = stream();
    bytes[20..24].copy_from_slice(&(64_u32 << 20).to_le_bytes());
    assert_eq!(read(&bytes), Err(StreamError::Truncated { at: 16 }));
    bytes[20..24].copy_from_slice(&(1 + (64_u32 << 20)).to_le_bytes());
    assert_eq!(read(&bytes), Err(StreamError::Lengths { at: 16 }));
}

#[test]
fn arbitrary_bytes_are_an_error_and_no_panic() {
    fn refused(bytes: Vec<u8>) -> bool {
        let behind_a_head = [&codec::head()[..], &bytes].concat();
        read(&bytes).is_err() && read(&behind_a_head).is_err()
    }
    quickcheck::quickcheck(refused as fn(Vec<u8>) -> bool);
}

/// The hexadecimal dump of docs/export.md.
#[test]
fn the_documented_example_is_read() {
    let text = include_str!("../../../docs/export.md");
    let (_, example) = text.split_once("## An example").unwrap();
    let (_, dump) = example.split_once("```text\n").unwrap();
    let (dump, _) = dump.split_once("```").unwrap();
    let lines = dump.lines().map(|line| line.split_once(": ").unwrap().1);
    let digits = lines.flat_map(|line| line.split("  ").next().unwrap().trim().split(' '));
    let bytes: Vec<u8> = digits
        .map(|two| u8::from_str_radix(two, 16).unwrap())
        .collect();
    let entry = |key: &str, value: &str, priority, ends_at_s| Entry {
        key: key.into(),
        value: value.into(),
        priority,
        ends_at_s,
    };
    let expected = vec![
        entry("k", "v", Priority::Normal, None),
        entry("tile/7", "png", Priority::Pinned, Some(2_000_000_000)),
    ];
    assert_eq!(read(&bytes), Ok(expected));
}
