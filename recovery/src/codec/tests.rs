use serde::Deserialize;

use super::*;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Sample {
    number: u64,
    list: Vec<u32>,
    name: Option<String>,
    raw: Vec<u8>,
}

fn sample() -> Sample {
    Sample {
        number: 7,
        list: vec![1, 2, 3],
        name: Some("tail".into()),
        raw: vec![9; 5],
    }
}

struct OfUnknownLength;

impl Serialize for OfUnknownLength {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde::ser::SerializeSeq::end(serializer.serialize_seq(None)?)
    }
}

/// A good frame around any payload.
fn framed(payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![BINCODE_2_FIXED, 3];
    bytes.extend_from_slice(&to_u32(payload.len()).to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

fn refused_payload<T: DeserializeOwned + std::fmt::Debug>(payload: &[u8]) -> String {
    match decode::<T>(3, &framed(payload)) {
        Err(CodecError::Payload(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_structure_comes_back_as_it_was_written() {
    let bytes = encode(3, &sample());
    assert_eq!(frame_bytes(&bytes), Ok(bytes.len()));
    assert_eq!(decode(3, &bytes), Ok(sample()));
    assert_eq!(decode(3, &encode(3, &())), Ok(()));
}

#[test]
fn the_bytes_are_these() {
    let bytes = encode(3, &(0x0102_u16, vec![5_u8]));
    let payload = [2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 5];
    assert_eq!(bytes[..6], [1, 3, 11, 0, 0, 0]);
    assert_eq!(bytes[6..10], crc32fast::hash(&payload).to_le_bytes());
    assert_eq!(bytes[10..], payload);
    assert_eq!(bytes, framed(&payload));
}

#[test]
fn every_cut_every_flipped_bit_and_every_byte_too_many_is_refused() {
    let bytes = encode(3, &sample());
    for len in 0..bytes.len() {
        let cut = decode::<Sample>(3, &bytes[..len]);
        assert_eq!(cut, Err(CodecError::Short), "prefix {len}");
    }
    for bit in 0..bytes.len() * 8 {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(decode::<Sample>(3, &bad).is_err(), "bit {bit}");
    }
    let mut longer = bytes;
    longer.push(0);
    let error = decode::<Sample>(3, &longer).unwrap_err();
    assert_eq!(error.to_string(), "payload: 1 bytes behind it");
}

#[test]
fn each_refusal_says_what_it_found() {
    let whole = framed(&[]);
    let with = |at: usize, byte: u8| {
        let mut bytes = whole.clone();
        bytes[at] = byte;
        decode::<()>(3, &bytes).unwrap_err()
    };
    assert_eq!(with(0, 2), CodecError::Codec(2));
    let version = CodecError::Version {
        found: 4,
        expected: 3,
    };
    assert_eq!(with(1, 4), version);
    assert_eq!(with(2, 1), CodecError::Short);
    let crc = CodecError::Crc {
        found: 1,
        expected: 0,
    };
    assert_eq!(with(6, 1), crc);
}

#[test]
fn a_payload_is_used_to_its_last_byte() {
    let why = refused_payload::<u32>(&[1, 0, 0, 0, 0]);
    assert_eq!(why, "4 of 5 bytes used");
}

#[test]
fn hostile_lengths_ask_for_no_memory() {
    for len in [u64::MAX, 1 << 40, 60 << 20] {
        let payload = len.to_le_bytes();
        refused_payload::<Vec<u64>>(&payload);
        refused_payload::<Vec<u8>>(&payload);
        // A string is read whole: beyond the limit of small payloads it is refused before it is allocated.
        let why = refused_payload::<String>(&payload);
        assert!(why.contains("LimitExceeded"), "{why}");
    }
    let mut header = framed(&[]);
    header[2..6].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(decode::<Vec<u8>>(3, &header), Err(CodecError::Short));
}

#[test]
fn payloads_beyond_the_small_limit_are_read() {
    let list: Vec<u64> = (0..20_000).collect();
    assert_eq!(decode(3, &encode(3, &list)), Ok(list));
    let text = "x".repeat(SMALL_PAYLOAD_BYTES + 1);
    assert_eq!(decode(3, &encode(3, &text)), Ok(text));
}

#[test]
fn a_payload_of_exactly_the_small_limit_is_read() {
    for text_bytes in [SMALL_PAYLOAD_BYTES - 8, SMALL_PAYLOAD_BYTES - 7] {
        let text = "x".repeat(text_bytes);
        assert_eq!(decode(3, &encode(3, &text)), Ok(text));
    }
}

#[test]
fn what_cannot_be_read_back_is_not_written() {
    let refused = try_encode(3, &OfUnknownLength).unwrap_err();
    assert!(matches!(refused, CodecError::Payload(_)), "{refused}");
    let text = "x".repeat(MAX_PAYLOAD_BYTES);
    let refused = try_encode(3, &text).unwrap_err().to_string();
    assert_eq!(refused, "payload: 67108872 bytes, at most 67108864");
}

#[test]
fn the_longest_payload_is_written_and_read_and_one_byte_more_is_not() {
    let text = "x".repeat(MAX_PAYLOAD_BYTES - 8);
    assert_eq!(decode(3, &encode(3, &text)), Ok(text));
    let why = refused_payload::<()>(&vec![0; MAX_PAYLOAD_BYTES + 1]);
    assert_eq!(why, "67108865 bytes, at most 67108864");
}
