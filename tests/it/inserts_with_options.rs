//! What one insert may be told: the caller's checksum, durability.

use perennial::{ErrorKind, InsertOptions, Inserted};
use perennial_failpoints::SimFs;

use crate::small::{open, options};

/// CRC-32 (IEEE), bit by bit: what the option promises to mean.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let poly = if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
            crc = crc >> 1 ^ poly;
        }
    }
    !crc
}

#[test]
fn a_value_that_is_not_the_one_of_its_checksum_is_not_stored() {
    assert_eq!(
        crc32(b"123456789"),
        0xcbf4_3926,
        "the check value of CRC-32"
    );
    // In the ring, and as an extent.
    for len in [0, 1, 300, 4_000] {
        let cache = open(&SimFs::new(1), options()).unwrap();
        let value = vec![9; len];
        let checked = |crc| InsertOptions::new().checksum(crc);
        let wrong = checked(crc32(&value) ^ 1);
        let error = cache.insert_with("k", &value, wrong.clone()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("checksum"), "{error}");
        assert!(!cache.contains("k").unwrap());

        let stored = cache.insert_with("k", &value, checked(crc32(&value)));
        assert_eq!(stored.unwrap(), Inserted::Stored);
        assert_eq!(&cache.get("k").unwrap().unwrap()[..], &value[..]);

        cache.insert_with("k", [8; 99], wrong).unwrap_err();
        let found = cache.get("k").unwrap().expect("the older version stays");
        assert_eq!(&found[..], &value[..]);
        assert_eq!(cache.stats().inserts, 1);
    }
}

#[test]
fn what_is_durable_survives_lost_power() {
    for durable in [false, true] {
        let fs = SimFs::new(1);
        let cache = open(&fs, options()).unwrap();
        let how = InsertOptions::new().durable(durable);
        cache.insert_with("k", [1; 300], how).unwrap();
        let survived = (0..20).all(|seed| {
            let cache = open(&fs.power_loss(seed), options()).unwrap();
            cache.contains("k").unwrap()
        });
        assert_eq!(survived, durable);
    }
}

#[test]
fn what_an_insert_refuses_it_refuses_with_options() {
    let cache = open(&SimFs::new(1), options()).unwrap();
    let refused = |key: &str, len: usize| {
        let result = cache.insert_with(key, vec![0; len], InsertOptions::new());
        result.unwrap_err().kind()
    };
    assert_eq!(refused("", 1), ErrorKind::Invalid);
    assert_eq!(refused("k", 8 << 10), ErrorKind::Invalid);
    let clone = cache.clone();
    cache.close().unwrap();
    let closed = clone.insert_with("k", "v", InsertOptions::new());
    assert_eq!(closed.unwrap_err().kind(), ErrorKind::Closed);
}
