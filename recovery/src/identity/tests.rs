use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use perennial_failpoints::{Dir, FaultFs, Fs, Plan, SimFs};

use super::*;

const DIR: &str = "/cache";
const SEEDS: u64 = 300;

fn identity(cache_id: u64) -> Identity {
    Identity {
        cache_id,
        hash_seed: 2,
        segment_bytes: 8192,
        sector: 512,
        identity_bits: 56,
        tail: TailPlace {
            kind: TailKind::Mapped,
            dir: None,
            ring_bytes: 1 << 20,
            tail_id: 4,
        },
        leftovers: Vec::new(),
    }
}

fn with_dir(dir: String) -> Identity {
    let mut identity = identity(1);
    identity.tail.dir = Some(dir);
    identity
}

fn open(fs: &dyn Fs) -> Arc<dyn Dir> {
    fs.open_dir(Path::new(DIR)).unwrap()
}

fn machine() -> SimFs {
    let fs = SimFs::new(1);
    fs.create_dir_all(Path::new(DIR)).unwrap();
    fs
}

fn file(name: &str) -> PathBuf {
    Path::new(DIR).join(name)
}

mod content {
    use super::*;

    #[test]
    fn an_identity_comes_back_as_it_was_written() {
        let mut heap = identity(u64::MAX);
        heap.tail.kind = TailKind::Heap;
        let mut moved = identity(1);
        moved.leftovers = ["/a", "/b"].map(|dir| with_dir(dir.into()).tail).into();
        for identity in [identity(1), heap, moved, with_dir("/dev/shm/täil".into())] {
            assert_eq!(Identity::decode(&identity.encode()), Ok(identity));
        }
    }

    #[test]
    fn the_file_is_two_equal_copies_in_sectors_of_their_own() {
        for (path_bytes, copy_bytes) in [(0, 512), (400, 512), (500, 1024), (5000, 5120)] {
            let identity = with_dir("x".repeat(path_bytes));
            let bytes = identity.encode();
            let (first, second) = bytes.split_at(bytes.len() / 2);
            assert_eq!(first.len(), copy_bytes, "path of {path_bytes}");
            assert_eq!(first, second);
            assert_eq!(first[..8], *b"PRNLCACH");
            assert_eq!(first[8..12], [1, 0, 0, 0]);
            assert_eq!(Identity::decode(&bytes), Ok(identity));
        }
    }

    #[test]
    fn a_path_may_end_on_the_last_byte_of_a_sector() {
        let fixed = COPY_HEADER_BYTES + codec::encode(VERSION, &with_dir(String::new())).len();
        for (path_bytes, copy_bytes) in [(512 - fixed, 512), (513 - fixed, 1024)] {
            let identity = with_dir("x".repeat(path_bytes));
            let bytes = identity.encode();
            assert_eq!(bytes.len(), 2 * copy_bytes);
            assert_eq!(Identity::decode(&bytes), Ok(identity));
        }
    }

    #[test]
    fn a_cut_file_is_refused_until_its_first_copy_is_whole() {
        let identity = identity(1);
        let bytes = identity.encode();
        for len in 0..bytes.len() {
            let decoded = Identity::decode(&bytes[..len]);
            if len < bytes.len() / 2 {
                let damaged = matches!(decoded, Err(IdentityError::Damaged(_)));
                assert!(damaged, "prefix {len}: {decoded:?}");
            } else {
                assert_eq!(decoded.as_ref(), Ok(&identity), "prefix {len}");
            }
        }
    }

    #[test]
    fn a_flipped_bit_in_one_copy_costs_nothing_and_in_both_is_refused() {
        for identity in [identity(1), with_dir("x".repeat(600))] {
            let bytes = identity.encode();
            let half = bytes.len() / 2;
            for bit in 0..half * 8 {
                let flipped = |in_first: bool, in_second: bool| {
                    let mut bad = bytes.clone();
                    bad[bit / 8] ^= u8::from(in_first) << (bit % 8);
                    bad[half + bit / 8] ^= u8::from(in_second) << (bit % 8);
                    Identity::decode(&bad)
                };
                assert_eq!(flipped(true, false).as_ref(), Ok(&identity), "bit {bit}");
                assert_eq!(flipped(false, true).as_ref(), Ok(&identity), "bit {bit}");
                assert!(flipped(true, true).is_err(), "bit {bit}");
            }
        }
    }

    #[test]
    fn a_lost_copy_costs_nothing() {
        let identity = with_dir("x".repeat(600));
        let bytes = identity.encode();
        let half = bytes.len() / 2;
        for junk in [0, 0xff] {
            for lost in [0..half, half..bytes.len()] {
                let mut bad = bytes.clone();
                bad[lost].fill(junk);
                assert_eq!(Identity::decode(&bad).as_ref(), Ok(&identity));
            }
        }
    }

    #[test]
    fn hostile_lengths_ask_for_no_memory() {
        let good = identity(1).encode();
        let half = good.len() / 2;
        let structure_at = COPY_HEADER_BYTES;
        let path_at = structure_at + codec::HEADER_BYTES + 8 + 8 + 4 + 4 + 1 + 4;
        assert_eq!(good[path_at], 0, "no path");
        let spoiled = |spoil: &dyn Fn(&mut [u8])| {
            let mut bad = good.clone();
            bad.chunks_mut(half).for_each(spoil);
            Identity::decode(&bad).unwrap_err().to_string()
        };
        for (at, says) in [(12, "contradict"), (structure_at + 2, "contradict")] {
            let error = spoiled(&|copy| copy[at..at + 4].fill(0xff));
            assert!(error.contains(says), "{error}");
        }
        let error = spoiled(&|copy| {
            copy[path_at] = 1;
            copy[path_at + 1..path_at + 9].copy_from_slice(&(1_u64 << 40).to_le_bytes());
            let bytes = codec::frame_bytes(&copy[structure_at..]).unwrap();
            let payload = structure_at + codec::HEADER_BYTES..structure_at + bytes;
            let crc = crc32fast::hash(&copy[payload]);
            copy[structure_at + 6..structure_at + 10].copy_from_slice(&crc.to_le_bytes());
        });
        assert!(error.contains("LimitExceeded"), "{error}");
    }

    #[test]
    fn what_is_not_ours_is_told_from_what_is_newer_and_what_is_damaged() {
        let good = identity(1).encode();
        let half = good.len() / 2;
        let in_both = |at: usize, byte: u8| {
            let mut bad = good.clone();
            bad[at] = byte;
            bad[half + at] = byte;
            Identity::decode(&bad).unwrap_err()
        };
        for other in [
            &b"x"[..],
            b"PRNLCACX",
            b"#!/bin/sh\necho hello\n",
            &[0; 1024],
        ] {
            assert_eq!(Identity::decode(other), Err(IdentityError::Foreign));
        }
        assert_eq!(in_both(0, b'X'), IdentityError::Foreign);
        let newer = IdentityError::NewerVersion {
            found: 2,
            supported: 1,
        };
        assert_eq!(in_both(8, 2), newer);
        assert!(matches!(in_both(8, 0), IdentityError::Damaged(_)));
        assert!(matches!(in_both(40, 9), IdentityError::Damaged(_)));
        let empty = Identity::decode(&[]).unwrap_err();
        assert_eq!(
            empty.to_string(),
            "damaged: first copy: cut short; second copy: cut short"
        );
    }

    #[test]
    fn a_newer_file_with_one_lost_copy_is_still_newer() {
        let mut bytes = identity(1).encode();
        let half = bytes.len() / 2;
        bytes[half + 8] = 7;
        bytes[..half].fill(0);
        let newer = IdentityError::NewerVersion {
            found: 7,
            supported: 1,
        };
        assert_eq!(Identity::decode(&bytes), Err(newer));
    }
}

mod files {
    use super::*;

    #[test]
    fn a_directory_without_one_has_none() {
        let fs = machine();
        assert!(read(&*open(&fs)).unwrap().is_none());
        fs.write_file(&file(TEMPORARY_NAME), &identity(1).encode());
        assert!(read(&*open(&fs)).unwrap().is_none());
    }

    #[test]
    fn the_last_one_written_is_read_and_nothing_else_is_left() {
        let fs = machine();
        fs.write_file(&file(TEMPORARY_NAME), &[7; 4000]);
        for cache_id in [1, 2] {
            write(&*open(&fs), &identity(cache_id)).unwrap();
            assert_eq!(read(&*open(&fs)).unwrap(), Some(identity(cache_id)));
            assert_eq!(fs.file_names(Path::new(DIR)), [FILE_NAME]);
        }
    }

    #[test]
    fn errors_name_the_file() {
        let fs = machine();
        fs.write_file(&file(FILE_NAME), b"something else");
        let error = read(&*open(&fs)).unwrap_err();
        assert_eq!(error.to_string(), "/cache/identity: not made by perennial");

        let bytes = usize::try_from(MAX_FILE_BYTES).unwrap() + 1;
        fs.write_file(&file(FILE_NAME), &vec![0; bytes]);
        let error = read(&*open(&fs)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "/cache/identity: 1048577 bytes, at most 1048576 expected"
        );

        let error = write(&*open(&fs), &with_dir("x".repeat(1 << 19))).unwrap_err();
        assert!(matches!(error, IdentityFileError::TooLong { .. }));

        fs.set_capacity(Some(bytes as u64));
        let error = write(&*open(&fs), &identity(1)).unwrap_err();
        assert!(
            error.to_string().starts_with("write /cache/identity.tmp: "),
            "{error}"
        );
    }

    /// How many calls `write` makes, the opening of the directory included.
    fn calls_of_a_write() -> u64 {
        let fs = FaultFs::new(Arc::new(machine()), Plan::none());
        write(&*open(&fs), &identity(2)).unwrap();
        fs.calls()
    }

    /// A machine with the identity `old` (durable), and what a crash may have left of an earlier attempt.
    fn start(old: Option<&Identity>, leftover: bool) -> SimFs {
        let fs = machine();
        if let Some(old) = old {
            fs.write_file(&file(FILE_NAME), &old.encode());
        }
        if leftover {
            fs.write_file(&file(TEMPORARY_NAME), &identity(3).encode()[..700]);
        }
        fs
    }

    fn starts() -> impl Iterator<Item = (Option<Identity>, bool)> {
        [None, Some(identity(1))]
            .into_iter()
            .flat_map(|old| [(old.clone(), false), (old, true)])
    }

    #[test]
    fn a_crash_at_any_call_leaves_the_old_one_or_the_new_one() {
        let new = identity(2);
        let calls = calls_of_a_write();
        assert!(calls >= 6, "remove, create, write, sync, rename, sync");
        for (old, leftover) in starts() {
            let (mut olds, mut news) = (0, 0);
            for plan in (2..=calls).flat_map(|n| [(n, false), (n, true)]) {
                let (n, after) = plan;
                let sim = start(old.as_ref(), leftover);
                let plan = if after {
                    Plan::kill_after(n)
                } else {
                    Plan::kill_before(n)
                };
                let fs = FaultFs::with_kill(Arc::new(sim.clone()), plan, Arc::new(|| {}));
                write(&*open(&fs), &new).unwrap_err();
                assert!(fs.is_dead());

                let crashed = (0..SEEDS).map(|seed| (Some(seed), sim.power_loss(seed)));
                for (seed, crashed) in crashed.chain([(None, sim.process_crash())]) {
                    let at = format!("call {n}, after: {after}, seed {seed:?}");
                    let dir = open(&crashed);
                    let found = read(&*dir).unwrap_or_else(|e| panic!("{at}: {e}"));
                    assert!(found == old || found.as_ref() == Some(&new), "{at}");
                    *(if found == old { &mut olds } else { &mut news }) += 1;
                    // Whatever was left, the next attempt succeeds.
                    write(&*dir, &new).unwrap_or_else(|e| panic!("{at}: {e}"));
                    assert_eq!(read(&*dir).unwrap().as_ref(), Some(&new), "{at}");
                }
            }
            assert!(olds > 0 && news > 0, "both were seen: {olds}, {news}");
        }
    }

    #[test]
    fn a_power_loss_after_a_write_leaves_the_new_one() {
        for (old, leftover) in starts() {
            let fs = start(old.as_ref(), leftover);
            write(&*open(&fs), &identity(2)).unwrap();
            for seed in 0..SEEDS {
                let found = read(&*open(&fs.power_loss(seed))).unwrap();
                assert_eq!(found, Some(identity(2)), "seed {seed}");
            }
        }
    }

    #[test]
    fn a_call_that_fails_is_told_and_costs_nothing() {
        let (old, new) = (identity(1), identity(2));
        for n in 2..=calls_of_a_write() {
            let sim = start(Some(&old), false);
            let plan = Plan::fail_nth(n, io::ErrorKind::StorageFull, false);
            let fs = FaultFs::new(Arc::new(sim.clone()), plan);
            let dir = open(&fs);
            let error = write(&*dir, &new).unwrap_err();
            assert!(error.to_string().contains("/cache/identity"), "{error}");
            for seed in 0..SEEDS {
                let found = read(&*open(&sim.power_loss(seed))).unwrap();
                assert!(
                    found.as_ref() == Some(&old) || found.as_ref() == Some(&new),
                    "call {n}, seed {seed}"
                );
            }
            write(&*dir, &new).unwrap();
            assert_eq!(read(&*dir).unwrap().as_ref(), Some(&new));
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_an_error_and_not_none() {
        let sim = start(Some(&identity(1)), false);
        let calls = {
            let fs = FaultFs::new(Arc::new(sim.clone()), Plan::none());
            read(&*open(&fs)).unwrap();
            fs.calls()
        };
        for n in 2..=calls {
            let plan = Plan::fail_nth(n, io::ErrorKind::PermissionDenied, false);
            let fs = FaultFs::new(Arc::new(sim.clone()), plan);
            let error = read(&*open(&fs)).unwrap_err();
            assert!(error.to_string().contains("/cache/identity"), "{error}");
        }
    }

    #[test]
    fn short_writes_are_finished() {
        let sim = machine();
        let fs = FaultFs::new(
            Arc::new(sim.clone()),
            Plan::new(|_| perennial_failpoints::Action::Short(100)),
        );
        write(&*open(&fs), &identity(2)).unwrap();
        assert_eq!(read(&*open(&fs)).unwrap(), Some(identity(2)));
    }
}

#[test]
fn a_tails_file_is_named_by_its_number() {
    let tail = TailPlace {
        kind: TailKind::Mapped,
        dir: None,
        ring_bytes: 4096,
        tail_id: 0xab_cdef,
    };
    assert_eq!(tail.file_name(), "tail-0000000000abcdef");
}
