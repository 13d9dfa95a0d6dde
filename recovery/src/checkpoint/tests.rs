use perennial_wal::Addr;

use super::part::UNITS_BITS;
use super::*;
use crate::codec::u64_at;

fn entry(i: u64) -> Entry {
    let position = Lsn(i * 4096 + 16);
    Entry {
        identity: i.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        addr: if i.is_multiple_of(3) {
            Addr::kept(position)
        } else {
            Addr::log(position)
        },
        size_class: (i % 64).to_le_bytes()[0],
        visited: (i % 4).to_le_bytes()[0],
        pinned: i.is_multiple_of(5),
    }
}

fn entries(count: u64) -> Vec<Entry> {
    (0..count).map(entry).collect()
}

fn head() -> Head {
    let part = |i: u32| PartRef {
        lsn: Lsn(0x4000 + u64::from(i) * 256),
        bytes: 16 + i * 16,
        shard: i,
        entries: i,
    };
    Head {
        generation: 3,
        c: Lsn(0x3000),
        e: Lsn(0x5000),
        entries: 1 + 2 + 3,
        identity_bits: 56,
        oldest: SegmentId(1),
        time_seen_s: 1_800_000_000,
        parts: (0..4).map(part).collect(),
        policy: vec![part(7)],
        shape: vec![9, 4],
        hand: 1,
    }
}

#[test]
fn a_part_comes_back_as_it_was_written() {
    for count in [0, 1, 5, 1000] {
        let written = entries(count);
        let bytes = encode_part(11, &written);
        assert_eq!(bytes.len() as u64, part_bytes(count));
        let part = decode_part(&bytes).unwrap();
        assert_eq!(part.shard(), 11);
        assert_eq!(part.count(), written.len());
        assert!(part.entries().eq(written));
    }
}

#[test]
fn the_bytes_of_a_part_are_these() {
    let entry = Entry {
        identity: 0x0807_0605_0403_0201,
        addr: Addr::kept(Lsn(0x30)),
        size_class: 1,
        visited: 2,
        pinned: false,
    };
    let bytes = encode_part(2, &[entry]);
    assert_eq!(
        bytes[..16],
        [1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]
    );
    assert_eq!(bytes[16..24], [1, 2, 3, 4, 5, 6, 7, 8]);
    // 1 | 000001 | 10 | 0…011
    assert_eq!(bytes[24..], [3, 0, 0, 0, 0, 0, 0, 0x83]);
}

#[test]
fn every_field_of_an_entry_holds_its_largest_value() {
    let units = (1 << UNITS_BITS) - 1;
    let mut largest = Vec::new();
    for (kept, units, size_class, visited) in [
        (true, 0, 0, 0),
        (false, units, 0, 0),
        (false, 0, 63, 0),
        (false, 0, 0, 3),
        (true, units, 63, 3),
    ] {
        let addr = Addr::from_units(kept, units);
        largest.push(Entry {
            identity: u64::MAX,
            addr,
            size_class,
            visited,
            pinned: visited == 3,
        });
    }
    let bytes = encode_part(u32::MAX, &largest);
    assert!(decode_part(&bytes).unwrap().entries().eq(largest));
    assert_eq!(bytes[bytes.len() - 16..], [0xff; 16]);
}

#[test]
fn an_entry_beyond_its_bits_is_not_written() {
    let good = entry(1);
    let addr = Addr::from_units(false, 1 << UNITS_BITS);
    for bad in [
        Entry { addr, ..good },
        Entry {
            size_class: 64,
            ..good
        },
        Entry { visited: 4, ..good },
    ] {
        assert!(std::panic::catch_unwind(|| encode_part(0, &[bad])).is_err());
    }
}

#[test]
fn every_cut_part_is_refused_and_every_bit_counts() {
    let bytes = encode_part(5, &entries(4));
    let whole = decode_part(&bytes).unwrap();
    for len in 0..bytes.len() {
        assert!(decode_part(&bytes[..len]).is_err(), "prefix {len}");
    }
    for bit in 0..bytes.len() * 8 {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let decoded = decode_part(&bad);
        // A part relies on its frame's crc for shard and entries; every other field is checked here.
        if (4..8).contains(&(bit / 8)) {
            assert_ne!(decoded.unwrap().shard(), 5, "bit {bit}");
        } else if bit / 8 >= 16 {
            let part = decoded.unwrap();
            let changed = part.entries().zip(whole.entries()).filter(|(a, b)| a != b);
            assert_eq!(changed.count(), 1, "bit {bit}");
        } else {
            assert!(decoded.is_err(), "bit {bit}");
        }
    }
    let mut longer = bytes;
    longer.push(0);
    assert!(decode_part(&longer).is_err());
}

#[test]
fn a_hostile_count_asks_for_nothing() {
    let mut bytes = encode_part(5, &entries(2));
    bytes[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
    let error = PartError::Length {
        found: 48,
        expected: part_bytes(u64::from(u32::MAX)),
    };
    assert_eq!(decode_part(&bytes), Err(error));
}

#[test]
fn as_many_entries_as_fit_fit() {
    assert_eq!([0, 15, 16, 31].map(entries_that_fit), [0; 4]);
    assert_eq!([32, 47, 48].map(entries_that_fit), [1, 1, 2]);
    let most = entries_that_fit(u64::MAX) as u64;
    assert!(u32::try_from(part_bytes(most)).is_ok());
    assert!(u32::try_from(part_bytes(most + 1)).is_err());
}

#[test]
fn a_head_comes_back_as_it_was_written() {
    let empty = Head {
        entries: 0,
        parts: Vec::new(),
        policy: Vec::new(),
        shape: Vec::new(),
        ..head()
    };
    for head in [head(), empty] {
        assert_eq!(Head::decode(&head.encode()), Ok(head));
    }
}

#[test]
fn a_heads_size_depends_on_its_lists_alone() {
    let lists = (4 + 1) * 20 + 2 * 8;
    let fixed = 4 * 8 + 1 + 2 * 8 + 3 * 8 + 8;
    assert_eq!(head().encode().len(), codec::HEADER_BYTES + fixed + lists);
}

#[test]
fn every_cut_and_every_flipped_bit_of_a_head_is_refused() {
    let bytes = head().encode();
    for len in 0..bytes.len() {
        let cut = Head::decode(&bytes[..len]);
        assert_eq!(cut, Err(CodecError::Short.into()), "prefix {len}");
    }
    for bit in 0..bytes.len() * 8 {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(Head::decode(&bad).is_err(), "bit {bit}");
    }
}

#[test]
fn a_head_with_hostile_lengths_asks_for_no_memory() {
    let good = head().encode();
    let parts_at = codec::HEADER_BYTES + 4 * 8 + 1 + 2 * 8;
    let policy_at = parts_at + 8 + 4 * 20;
    let kept_at = policy_at + 8 + 20;
    for (at, len) in [(parts_at, 4), (policy_at, 1), (kept_at, 2)] {
        assert_eq!(u64_at(&good, at), len);
        for hostile in [u64::MAX, 1 << 40, 1 << 20] {
            let mut bad = good.clone();
            bad[at..at + 8].copy_from_slice(&hostile.to_le_bytes());
            let crc = crc32fast::hash(&bad[codec::HEADER_BYTES..]);
            bad[6..10].copy_from_slice(&crc.to_le_bytes());
            let decoded = Head::decode(&bad);
            assert!(
                matches!(decoded, Err(HeadError::Codec(CodecError::Payload(_)))),
                "{decoded:?}"
            );
        }
    }
}

#[test]
fn a_head_that_contradicts_itself_is_refused() {
    let refused = |spoil: fn(&mut Head)| {
        let mut bad = head();
        spoil(&mut bad);
        let error = bad.check().unwrap_err();
        assert_eq!(Head::decode(&bad.encode()), Err(error.clone()));
        error.to_string()
    };
    assert_eq!(
        refused(|head| head.e = Lsn(0x2ff0)),
        "checkpoint head: imaged from 0x3000 to 0x2ff0"
    );
    assert_eq!(
        refused(|head| head.entries += 1),
        "checkpoint head: 7 entries, expected 6 from its parts"
    );
    assert_eq!(
        refused(|head| head.parts[1].bytes += 16),
        "checkpoint head: the part at 0x4100 has 48 bytes, expected 32"
    );
    // Nothing was written while the shards were imaged.
    let mut still = head();
    still.e = still.c;
    assert_eq!(still.check(), Ok(()));
}
