use std::path::Path;
use std::sync::Arc;

use perennial_failpoints::{Action, CallKind, FaultFs, Fs, Plan, SimFs};

use super::*;
use crate::lsn::to_u32;
use crate::segment::file_name;
use crate::tail_head::{DESCRIPTORS_AT, STABLE_AT, TailIdentity, stable_word};

const CACHE: u64 = 5;
const SEGMENT: u64 = 8 << 10;
const GEOMETRY: Geometry = Geometry {
    segment_bytes: SEGMENT,
    sector: 512,
};

fn header(number: u64, predecessor: u64) -> SegmentHeader {
    SegmentHeader {
        cache_id: CACHE,
        number: SegmentId(number),
        kept: None,
        predecessor: SegmentId(predecessor),
        oldest: SegmentId(1),
        stable: Lsn(0),
        checkpoint: Lsn(0),
        segment_bytes: to_u32(to_usize(SEGMENT)),
        sector: 512,
        joins: vec![join(1024, 0)],
    }
}

fn join(begin: u32, void_through: u64) -> Join {
    Join {
        begin,
        end: begin,
        incarnation: 77,
        void_through,
    }
}

/// A machine with these files, each of a segment's length unless its bytes are more.
fn machine(files: &[(u32, Vec<u8>)]) -> SimFs {
    let machine = SimFs::new(1);
    machine.write_file(Path::new("/log/other"), b"nothing of ours");
    for (slot, start) in files {
        let mut bytes = start.clone();
        bytes.resize(bytes.len().max(to_usize(SEGMENT)), 0);
        machine.write_file(&Path::new("/log").join(file_name(*slot)), &bytes);
    }
    machine
}

fn found_with(fs: &dyn Fs, tail: &TailEvidence<'_>) -> Result<Found> {
    let dir = fs.open_dir(Path::new("/log")).unwrap();
    find(&*dir, CACHE, GEOMETRY, tail, 2)
}

fn found(files: &[(u32, Vec<u8>)]) -> Found {
    found_with(&machine(files), &TailEvidence::default()).unwrap()
}

fn chain(found: &Found) -> Vec<(u32, u64)> {
    let segments = found.chain.iter();
    segments.map(|s| (s.slot, s.header.number.0)).collect()
}

#[test]
fn the_chain_follows_the_predecessors_whatever_the_slots() {
    let found = found(&[
        (4, header(1, 1).encode()),
        (0, header(3, 2).encode()),
        (2, header(2, 1).encode()),
    ]);
    assert_eq!(chain(&found), [(4, 1), (2, 2), (0, 3)]);
    assert!(found.free.is_empty() && found.foreign.is_empty());
    assert!(!found.broken && !found.end_missing);
    assert_eq!((found.next_slot, found.max_number), (5, 3));
}

#[test]
fn what_is_no_segment_of_ours_is_left_alone() {
    let mut newer = header(9, 9).encode();
    for at in [0, 512] {
        newer[at + 8] = 2;
        let mut crc = crc32fast::Hasher::new();
        crc.update(&newer[at..at + 12]);
        crc.update(&newer[at + 16..at + 512]);
        newer[at + 12..at + 16].copy_from_slice(&crc.finalize().to_le_bytes());
    }
    let others = [
        SegmentHeader {
            cache_id: 6,
            ..header(9, 9)
        },
        SegmentHeader {
            segment_bytes: 16 << 10,
            ..header(9, 9)
        },
        SegmentHeader {
            sector: 4096,
            joins: vec![join(4096, 0)],
            ..header(9, 9)
        },
        SegmentHeader {
            joins: vec![join(1040, 0)],
            ..header(9, 9)
        },
    ];
    let mut strangers: Vec<Vec<u8>> = others.iter().map(SegmentHeader::encode).collect();
    strangers.push(newer);
    strangers.push(vec![7; to_usize(SEGMENT) + 1]);
    for stranger in strangers {
        let found = found(&[(0, header(1, 1).encode()), (3, stranger.clone())]);
        assert_eq!(chain(&found), [(0, 1)]);
        let bytes = (stranger.len() as u64).max(SEGMENT);
        assert_eq!(found.foreign, [(file_name(3), bytes)]);
        assert!(found.free.is_empty() && found.damaged.is_empty());
        assert_eq!((found.next_slot, found.max_number), (1, 1));
    }
}

#[test]
fn what_was_never_written_is_free_and_what_was_is_damaged() {
    let first = (0, header(1, 1).encode());
    let blank = found(&[first.clone(), (2, vec![])]);
    assert_eq!((blank.free, blank.damaged), (vec![2], vec![]));
    let junk = found(&[first.clone(), (2, vec![7; to_usize(SEGMENT)])]);
    assert_eq!((junk.free, junk.damaged), (vec![2], vec![2]));
    assert_eq!(junk.next_slot, 3);
    let machine = machine(&[first]);
    for bytes in [0, 600, to_usize(SEGMENT) - 1] {
        machine.write_file(&Path::new("/log").join(file_name(2)), &vec![7; bytes]);
        let short = found_with(&machine, &TailEvidence::default()).unwrap();
        assert_eq!((short.free, short.damaged), (vec![2], vec![]), "{bytes}");
    }
}

#[test]
fn of_two_copies_the_one_with_more_joins_counts() {
    let newer = SegmentHeader {
        joins: vec![join(1024, 0), join(2048, 0)],
        ..header(1, 1)
    };
    for (old, new) in [(0, 1), (1, 0)] {
        let found = found(&[(old, header(1, 1).encode()), (new, newer.encode())]);
        assert_eq!(chain(&found), [(new, 1)]);
        assert_eq!(found.free, [old]);
    }
    let same = found(&[(0, newer.encode()), (1, newer.encode())]);
    assert_eq!((chain(&same), same.free), (vec![(0, 1)], vec![1]));
}

#[test]
fn numbers_that_a_join_gave_up_are_in_no_chain() {
    let giving_up = SegmentHeader {
        joins: vec![join(1024, 9)],
        ..header(2, 1)
    };
    let before = SegmentHeader {
        oldest: SegmentId(3),
        ..header(3, 2)
    };
    let found = found(&[
        (0, header(1, 1).encode()),
        (1, giving_up.encode()),
        (2, before.encode()),
        (3, header(9, 3).encode()),
    ]);
    assert_eq!(chain(&found), [(0, 1), (1, 2)]);
    assert_eq!((found.free, found.max_number), (vec![2, 3], 9));
    assert!(!found.broken);
}

#[test]
fn nothing_older_than_what_counted_is_followed() {
    let newest = SegmentHeader {
        oldest: SegmentId(3),
        ..header(4, 3)
    };
    let files = [
        (0, header(2, 1).encode()),
        (1, header(3, 2).encode()),
        (2, newest.encode()),
    ];
    let found = found(&files);
    assert_eq!(chain(&found), [(1, 3), (2, 4)]);
    assert_eq!((found.free, found.broken), (vec![0], false));
}

#[test]
fn a_segment_missing_in_the_middle_breaks_the_chain() {
    let found = found(&[
        (0, header(1, 1).encode()),
        (1, header(3, 2).encode()),
        (2, header(4, 3).encode()),
    ]);
    assert_eq!(chain(&found), [(1, 3), (2, 4)]);
    assert_eq!((found.free, found.broken), (vec![0], true));
}

#[test]
fn the_log_reaches_no_further_back_than_addresses_can_be_told_apart() {
    let furthest = REACH_BYTES / SEGMENT - 2;
    for (distance, broken) in [(furthest, false), (furthest + 1, true)] {
        let newest = header(1 + distance, 1);
        let found = found(&[(0, header(1, 1).encode()), (1, newest.encode())]);
        assert_eq!(
            (found.chain.len(), found.broken),
            (2 - usize::from(broken), broken)
        );
        assert_eq!(found.free.len(), usize::from(broken));
    }
}

/// A tail's head with a stable LSN and a buffer of `units` in its first descriptor.
fn tail(stable: u64, base: u64, units: u64, same_boot: bool) -> TailEvidence<'static> {
    let identity = TailIdentity {
        cache_id: CACHE,
        tail_id: 2,
        incarnation: 77,
        ring_bytes: 4096,
        boot_id: [1; 16],
    };
    let mut head = vec![0; 4096];
    identity.write_to(&mut head);
    let word = stable_word(Lsn(stable));
    head[STABLE_AT[0]..][..8].copy_from_slice(&word.to_le_bytes());
    head[STABLE_AT[0] + 8..][..8].copy_from_slice(&(!word).to_le_bytes());
    // Number 128 lies in the first descriptor; sealed, so that it is no word of zeros.
    let word = 128_u64 << 40 | 1 << 39 | units;
    head[DESCRIPTORS_AT..][..8].copy_from_slice(&word.to_le_bytes());
    head[DESCRIPTORS_AT + 8..][..8].copy_from_slice(&base.to_le_bytes());
    TailEvidence {
        head: TailHead::decode(&head),
        same_boot,
        ring: &[],
        moving: false,
    }
}

#[test]
fn the_tail_attests_how_far_the_log_had_come() {
    let (third, fourth) = (3 * SEGMENT + 1024, 4 * SEGMENT + 1024);
    let machine = machine(&[(0, header(2, 2).encode()), (1, header(3, 2).encode())]);
    for (tail, missing) in [
        (tail(third, third, 4, true), false),
        (tail(fourth, third, 4, true), true),
        (tail(fourth, third, 4, false), true),
        (tail(third, fourth, 4, true), true),
        // An empty buffer holds nothing; one of another boot was never on any disk for what is known.
        (tail(third, fourth, 0, true), false),
        (tail(third, fourth, 4, false), false),
    ] {
        let found = found_with(&machine, &tail).unwrap();
        assert_eq!(found.end_missing, missing, "{tail:?}");
        assert_eq!(found.max_number, 3 + u64::from(missing), "{tail:?}");
        assert!(!found.broken);
    }
}

#[test]
fn what_a_join_gave_up_is_not_missing() {
    let last = SegmentHeader {
        joins: vec![join(1024, 4)],
        ..header(3, 3)
    };
    let machine = machine(&[(0, last.encode())]);
    for (segment, missing) in [(4, false), (5, true)] {
        let tail = tail(segment * SEGMENT, 0, 0, true);
        let found = found_with(&machine, &tail).unwrap();
        assert_eq!(found.end_missing, missing, "{segment}");
    }
}

#[test]
fn without_any_segment_the_tail_shows_that_there_were_some() {
    let empty = machine(&[]);
    let at = |lsn| {
        found_with(&empty, &tail(lsn, 0, 0, true))
            .unwrap()
            .end_missing
    };
    assert!(at(SEGMENT) && !at(0));
}

#[test]
fn only_the_medias_errors_are_damage() {
    for number in [5, 61, 74, 117] {
        assert!(is_medias(&io::Error::from_raw_os_error(number)), "{number}");
    }
    assert!(is_medias(&io::ErrorKind::UnexpectedEof.into()));
    for number in [1, 4, 12, 13, 24, 28] {
        assert!(
            !is_medias(&io::Error::from_raw_os_error(number)),
            "{number}"
        );
    }
    let failing = |number| {
        let machine = machine(&[(0, header(1, 1).encode())]);
        let plan = Plan::new(move |call| match call.kind {
            CallKind::Read => Action::FailRaw(number),
            _ => Action::Pass,
        });
        found_with(
            &FaultFs::new(Arc::new(machine), plan),
            &TailEvidence::default(),
        )
    };
    assert_eq!(failing(5).unwrap().damaged, [0]);
    assert!(matches!(failing(24), Err(WalError::Io { .. })));
}

/// What is found where the media does not give the headers of `lost`.
fn found_without(lost: &'static [&str], tail: &TailEvidence<'_>) -> Found {
    let files: Vec<_> = (1..4)
        .map(|n| (u32::try_from(n).unwrap(), header(n, n.max(2) - 1).encode()))
        .collect();
    let plan = Plan::new(|call| match call.kind {
        CallKind::Read if lost.contains(&call.name) => Action::FailRaw(5),
        _ => Action::Pass,
    });
    found_with(&FaultFs::new(Arc::new(machine(&files)), plan), tail).unwrap()
}

/// Two lives gave the same numbers where a header could not be read in between.
#[test]
fn numbers_begin_beyond_those_that_could_not_be_read() {
    let none = TailEvidence::default();
    assert_eq!(found_without(&[], &none).max_number, 3);
    for lost in [&["seg-000003"][..], &["seg-000001", "seg-000003"]] {
        let found = found_without(lost, &none);
        assert!(found.max_number > REACH_BYTES / 64 / SEGMENT, "{found:?}");
        assert!(found.check_bounded().is_ok());
    }
    // Rot stays what it is.
    let rotten = found(&[(1, header(1, 1).encode()), (2, vec![7; 1024])]);
    assert_eq!((rotten.damaged, rotten.max_number), (vec![2], 1));
}

#[test]
fn where_no_header_can_be_read_only_a_tail_bounds_the_numbers() {
    let lost = &["seg-000001", "seg-000002", "seg-000003"];
    let nothing = found_without(lost, &TailEvidence::default());
    assert!(matches!(nothing.check_bounded(), Err(WalError::Io { .. })));
    let bounded = found_without(lost, &tail(3 * SEGMENT + 1024, 0, 0, false));
    assert!(bounded.check_bounded().is_ok() && bounded.end_missing);
    assert!(bounded.max_number > REACH_BYTES / 64 / SEGMENT);
}
