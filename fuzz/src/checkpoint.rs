//! What recovery decodes: a checkpoint's head and parts, the identity, a tail's head, a reference to an extent.
//!
//! Input: which of them, whether to forge, the bytes.

use perennial_recovery::codec;
use perennial_recovery::{
    Entry, Head, Identity, PartRef, TailKind, TailPlace, decode_part, encode_part, part_bytes,
};
use perennial_wal::{
    Addr, ExtentRef, Lsn, SegmentId, TAIL_HEAD_BYTES, TailHead, TailIdentity, to_usize,
};

use super::Seed;
use super::forge;
use super::input::Input;

const HEAD: u8 = 0;
const PART: u8 = 1;
const IDENTITY: u8 = 2;
const TAIL_HEAD: u8 = 3;
const EXTENT_REF: u8 = 4;
const TEXTS: u8 = 5;

pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let (what, forged) = (input.u8(), input.u8() & 1 == 1);
    let mut bytes = input.rest().to_vec();
    match what % 6 {
        HEAD => head(&mut bytes, forged),
        PART => part(&bytes),
        IDENTITY => identity(&mut bytes, forged),
        TAIL_HEAD => tail_head(&mut bytes, forged),
        EXTENT_REF => extent_ref(&bytes),
        _ => texts(&mut bytes, forged),
    }
}

fn head(bytes: &mut [u8], forged: bool) {
    if forged {
        forge::codec(bytes);
    }
    if let Ok(head) = Head::decode(bytes) {
        assert_eq!(head.check(), Ok(()));
        assert!(head.c <= head.e);
        let entries = head.parts.iter().map(|part| u64::from(part.entries));
        assert_eq!(entries.sum::<u64>(), head.entries);
        assert_eq!(head.encode(), bytes, "{head:?}");
    }
}

fn part(bytes: &[u8]) {
    if let Ok(part) = decode_part(bytes) {
        let entries: Vec<Entry> = part.entries().collect();
        assert_eq!(entries.len(), part.count());
        assert_eq!(part_bytes(entries.len() as u64), bytes.len() as u64);
        assert_eq!(encode_part(part.shard(), &entries), bytes);
    }
}

fn identity(bytes: &mut [u8], forged: bool) {
    if forged {
        let (first, second) = bytes.split_at_mut(bytes.len() / 2);
        for copy in [first, second] {
            if let Some(structure) = copy.get_mut(16..) {
                forge::codec_in_place(structure);
            }
        }
    }
    match Identity::decode(bytes) {
        Ok(identity) => {
            let again = Identity::decode(&identity.encode());
            assert_eq!(again.as_ref(), Ok(&identity));
            let _ = identity.tail.file_name();
        }
        Err(why) => assert!(!why.to_string().is_empty()),
    }
}

fn tail_head(bytes: &mut Vec<u8>, forged: bool) {
    bytes.resize(to_usize(TAIL_HEAD_BYTES), 0);
    if forged {
        for at in [0, 2560] {
            forge::tail_identity(&mut bytes[at..at + 96]);
        }
        for at in [256, 2816] {
            forge::stable_word(&mut bytes[at..at + 16]);
        }
    }
    let copies = TailHead::copies(bytes);
    let Some(head) = TailHead::decode(bytes) else {
        assert!(!copies[0].1 && !copies[1].1);
        return;
    };
    assert!(head.stable.is_none() || copies[2].1 || copies[3].1);
    let end = head.descriptors.reserved_end(Lsn(u64::MAX));
    for used in head.descriptors.used() {
        let begin = used.base;
        let behind = begin.plus(used.bytes);
        assert!(end.is_none_or(|end| end >= behind));
        let _ = head.descriptors.may_be_a_hole(begin, behind.plus(1 << 20));
        let _ = head.descriptors.reserved_end(begin);
    }
}

fn extent_ref(bytes: &[u8]) {
    if let Some(extent) = ExtentRef::decode(bytes) {
        assert!(extent.lsn.0.is_multiple_of(16));
        assert_eq!(ExtentRef::decode(&extent.encode()), Some(extent));
        let _ = Addr::log(extent.lsn);
    }
}

/// The codec alone, on what claims lengths within lengths: a typed cache stores whatever its user's serde writes.
fn texts(bytes: &mut [u8], forged: bool) {
    if forged {
        forge::codec(bytes);
    }
    if let Ok(texts) = codec::decode::<Vec<(u32, Option<String>)>>(1, bytes) {
        assert_eq!(codec::encode(1, &texts), bytes);
    }
}

fn a_head() -> Head {
    let part = |n: u32| PartRef {
        lsn: Lsn(u64::from(n) * 8192 + 1024),
        bytes: 16 + 16 * n,
        shard: n,
        entries: n,
    };
    Head {
        generation: 4,
        c: Lsn(8192),
        e: Lsn(9000),
        entries: 6,
        identity_bits: 46,
        oldest: SegmentId(1),
        time_seen_s: 1_700_000_000,
        parts: (0..4).map(part).collect(),
        policy: (4..6).map(part).collect(),
        shape: vec![8, 3],
        hand: 0,
    }
}

fn an_identity(dir: Option<&str>) -> Identity {
    let tail = TailPlace {
        kind: TailKind::Mapped,
        dir: dir.map(str::to_owned),
        ring_bytes: 4096,
        tail_id: 9,
    };
    Identity {
        cache_id: 1,
        hash_seed: 2,
        segment_bytes: 8192,
        sector: 512,
        identity_bits: 46,
        leftovers: dir.iter().map(|_| tail.clone()).collect(),
        tail,
    }
}

fn a_tail_head() -> Vec<u8> {
    let identity = TailIdentity {
        cache_id: 1,
        tail_id: 9,
        incarnation: 3,
        ring_bytes: 4096,
        boot_id: [7; 16],
    };
    let mut head = vec![0; to_usize(TAIL_HEAD_BYTES)];
    for at in [0, 2560] {
        head[at..at + 96].copy_from_slice(&identity.encode());
    }
    head[256..260].copy_from_slice(&[0, 2, 0, 0]);
    forge::stable_word(&mut head[256..272]);
    // Buffers one behind the other, the last with a writer in it.
    for slot in 0..128_u64 {
        let at = 512 + to_usize(slot) * 16;
        let writers = u64::from(slot == 20) << 30;
        let word = slot << 40 | 1 << 39 | writers | 1 << 17 | 4;
        let (word, base) = if slot > 20 {
            (0, u64::MAX)
        } else {
            (word, 8192 + slot * 64)
        };
        head[at..at + 8].copy_from_slice(&word.to_le_bytes());
        head[at + 8..at + 16].copy_from_slice(&base.to_le_bytes());
    }
    head
}

pub fn seeds() -> Vec<Seed> {
    let one = |name: &str, what: u8, forged: u8, bytes: &[u8]| {
        let input = [&[what, forged], bytes].concat();
        (name.to_owned(), input)
    };
    let entry = |n: u64| Entry {
        identity: n * 77,
        addr: Addr::log(Lsn(n * 160)),
        size_class: 3,
        visited: 1,
        pinned: n == 2,
    };
    let entries: Vec<Entry> = (0..5).map(entry).collect();
    let extent = ExtentRef {
        lsn: Lsn(8192 + 1024),
        bytes: 700,
    };
    let texts = vec![(1_u32, Some("one".to_owned())), (2, None)];
    vec![
        one("head", HEAD, 0, &a_head().encode()),
        one("head-forged", HEAD, 1, &a_head().encode()),
        one("part", PART, 0, &encode_part(2, &entries)),
        one("identity", IDENTITY, 0, &an_identity(None).encode()),
        one(
            "identity-forged",
            IDENTITY,
            1,
            &an_identity(Some("/tmp")).encode(),
        ),
        one("tail-head", TAIL_HEAD, 0, &a_tail_head()),
        one("tail-head-forged", TAIL_HEAD, 1, &a_tail_head()),
        one("extent-ref", EXTENT_REF, 0, &extent.encode()),
        one("texts-forged", TEXTS, 1, &codec::encode(1, &texts)),
    ]
}
