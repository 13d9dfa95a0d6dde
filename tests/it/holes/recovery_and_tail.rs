//! Holes 10 to 16: recovery, the tail, the identity of bytes.

use std::path::Path;
use std::sync::Arc;

use perennial::{Cache, Inserted, Options, Tail};
use perennial_failpoints::{CallKind, FaultFs, Plan, SimFs};

use super::lab::{
    DIR, Doomed, History, Step, file_with, find_in, get, judge, kill, kill_at_every_call,
    kill_every_recovery, open, roomy, segments_with,
};

/// Crosses three segments, with an extent, a checkpoint and overwrites.
fn script() -> Vec<Step> {
    let mut steps = vec![
        Step::PutDurable(1, 300),
        Step::Put(2, 900),
        Step::Put(3, 40),
        Step::Remove(1),
        Step::PutDurable(4, 5_000),
        Step::Put(1, 1_500),
        Step::Checkpoint,
        Step::RemoveDurable(2),
    ];
    for n in 0..10 {
        steps.push(Step::Put(n % 5, 1_100));
        if n % 4 == 3 {
            steps.push(Step::PutDurable(n % 3, 200));
        }
    }
    steps.push(Step::Remove(3));
    steps.push(Step::Flush);
    steps.push(Step::Put(3, 700));
    steps
}

fn is_heap(options: &Options) -> bool {
    format!("{options:?}").contains("Heap")
}

/// Killed, or left without power, before every call; and recovered.
#[test]
fn every_crash_state_of_a_script_is_recovered() {
    for options in [roomy(), roomy().tail(Tail::Heap)] {
        let heap = is_heap(&options);
        kill_at_every_call(7, &options, &script(), |image, history, n| {
            for seed in 0..8 {
                judge(&image.power_loss(seed), &options, history, true, || {
                    format!("heap {heap}, call {n}, power {seed}")
                });
            }
            judge(image, &options, history, heap, || {
                format!("heap {heap}, call {n}, killed")
            });
        });
    }
}

/// The same, and the recovery is killed or loses power, too, before each of its calls.
#[test]
fn every_crash_state_of_a_recovery_is_recovered() {
    for options in [roomy(), roomy().tail(Tail::Heap)] {
        let heap = is_heap(&options);
        kill_at_every_call(7, &options, &script(), |image, history, n| {
            if n % 5 != 0 {
                return;
            }
            kill_every_recovery(image, &options, |again, m| {
                let what = || format!("heap {heap}, call {n}, killed, recovery call {m}");
                judge(&again.power_loss(m), &options, history, true, what);
                judge(again, &options, history, heap, what);
            });
            let dark = image.power_loss(n);
            kill_every_recovery(&dark, &options, |again, m| {
                judge(&again.power_loss(m), &options, history, true, || {
                    format!("heap {heap}, call {n}, power, recovery call {m}, power")
                });
            });
        });
    }
}

/// After each of these crashes life goes on: what is made durable then survives the next one.
#[test]
fn hole_10_what_a_second_life_makes_durable_survives_it() {
    kill_at_every_call(7, &roomy(), &script(), |image, history, n| {
        let running = open(image, roomy());
        for new in 0..16_u32 {
            let durable = running.insert_durable(new.to_le_bytes(), [9; 900]);
            assert_eq!(durable.unwrap(), Inserted::Stored);
            let cache = open(&image.power_loss(u64::from(new) + n), roomy());
            history
                .check(&cache, true)
                .unwrap_or_else(|why| panic!("call {n}, {new} of the second life: {why}"));
            for new in 0..=new {
                let found = cache.get(new.to_le_bytes()).unwrap();
                assert!(
                    found.is_some(),
                    "call {n}: {new} of the second life is lost"
                );
            }
            std::mem::forget(cache);
        }
        std::mem::forget(running);
    });
}

/// The process is killed between making a segment's file and making its name durable. Later lives use the file.
#[test]
fn hole_20_a_file_found_after_a_kill_gets_a_durable_name() {
    let options = roomy().tail(Tail::Heap);
    kill_at_every_call(21, &options, &script(), |image, history, n| {
        // With enough files for all that follows no life makes another.
        let mut machine = image.process_crash();
        for life in 0..4_u32 {
            let cache = open(&machine, options.clone());
            cache.insert_durable(life.to_le_bytes(), [9; 900]).unwrap();
            let dark = open(&machine.power_loss(n), options.clone());
            history
                .check(&dark, true)
                .unwrap_or_else(|why| panic!("call {n}, life {life}: {why}"));
            for life in 0..=life {
                let found = dark.get(life.to_le_bytes()).unwrap();
                assert!(found.is_some(), "call {n}: of life {life}");
            }
            std::mem::forget(dark);
            machine = kill(&machine, cache);
        }
    });
}

/// Fills the log in steps until the closure of an insert runs with its frame at the beginning of a segment, and returns
/// the machine as a kill in that moment leaves it.
fn killed_while_copying(frames_before: usize) -> (SimFs, Cache, SimFs) {
    let machine = SimFs::new(3);
    let cache = open(&machine, roomy());
    cache.insert_durable("kept", vec![1; 100]).unwrap();
    for _ in 0..frames_before {
        cache.insert_durable("filler", vec![2; 400]).unwrap();
    }
    let mut image = None;
    let fill = |_: &mut [u8]| {
        image = Some(machine.process_crash());
        Ok::<_, String>(())
    };
    cache.insert_with_len("begun", 900, fill).unwrap();
    (image.unwrap(), cache, machine)
}

/// The second open of a cache whose first was killed between the rename of its identity and the sync of that name made its
/// tail, and power was lost: the tail's name was there, the identity's was not, and the directory was nobody's cache.
#[test]
fn hole_20_an_identity_without_a_durable_name_is_not_built_on() {
    let machine = SimFs::new(1);
    let named = {
        let machine = machine.clone();
        move || {
            let names = machine.file_names(Path::new(DIR));
            names.iter().any(|name| name == "identity")
        }
    };
    let doomed = Doomed::at(&machine, move |call| {
        call.kind == CallKind::SyncDir && named()
    });
    assert!(Cache::open_with(Arc::new(doomed.fs.clone()), DIR, roomy()).is_err());
    let image = doomed.image().expect("killed before its name was synced");
    kill_every_recovery(&image, &roomy(), |again, m| {
        for effect in 0..again.pending_effects().min(64) {
            let dark = again.power_loss_keeping(1 << effect);
            if let Err(e) = Cache::open_with(Arc::new(dark), DIR, roomy()) {
                panic!("killed before call {m}, only effect {effect} kept: {e}");
            }
        }
    });
}

#[test]
fn hole_10_a_segment_begun_and_given_up_is_not_a_missing_end() {
    for frames in 0..20 {
        let (image, cache, _) = killed_while_copying(frames);
        kill_every_recovery(&image, &roomy(), |again, m| {
            let cache = open(again, roomy());
            let kept = get(&cache, "kept").is_some();
            assert!(kept, "{frames} frames, recovery call {m}");
            std::mem::forget(cache);
        });
        std::mem::forget(cache);
    }
}

/// A process killed between the two stores that give a descriptor to its next buffer.
#[test]
fn hole_12_a_descriptor_half_given_to_its_next_buffer_proves_nothing() {
    let machine = SimFs::new(5);
    let cache = open(&machine, roomy());
    for n in 0..200_u32 {
        cache.insert_durable("kept", n.to_le_bytes()).unwrap();
    }
    let image = kill(&machine, cache);
    let tail = file_with(&image, "tail-");
    let mut bytes = image.read_file(Path::new(&tail)).unwrap();
    let word = |bytes: &[u8], i: usize| {
        let at = 512 + i * 8;
        u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
    };
    let newest = (0..128)
        .max_by_key(|i| word(&bytes, 2 * i + 1))
        .expect("descriptors");
    let end = word(&bytes, 2 * newest + 1) + (word(&bytes, 2 * newest) & 0x1_ffff) * 16;
    let next = 512 + (newest + 1) % 128 * 16;
    bytes[next + 8..next + 16].copy_from_slice(&end.to_le_bytes());
    image.write_file(Path::new(&tail), &bytes);
    let cache = open(&image, roomy());
    assert_eq!(get(&cache, "kept"), Some(199_u32.to_le_bytes().to_vec()));
    assert_eq!(cache.stats().damaged, 0);
}

/// Finds the checkpoint part that holds nothing but frames' addresses: the bytes after the last durable value.
#[test]
fn hole_12_a_damaged_part_of_a_checkpoint_costs_no_entry() {
    let machine = SimFs::new(6);
    let cache = open(&machine, roomy().index_shards(1));
    for n in 0..20_u32 {
        cache.insert_durable(format!("k{n}"), [7; 50]).unwrap();
    }
    cache.checkpoint().unwrap();
    cache.insert_durable("last", "x").unwrap();
    let image = kill(&machine, cache).power_loss(1);
    // The first frame behind the last entry's mark is the part; a bit in its body.
    let (path, at) = segments_with(&image, b"k19").remove(0);
    let content = image.read_file(Path::new(&path)).unwrap();
    let part = (usize::try_from(at).unwrap()..content.len())
        .step_by(1)
        .find(|p| p % 16 == 0 && content[p + 8] == 6 && content[p + 4] as usize == p / 16 % 256)
        .expect("the part's frame");
    assert!(image.flip_bit(Path::new(&path), part as u64 + 60, 3));
    let cache = open(&image, roomy().index_shards(1));
    for n in 0..20_u32 {
        assert!(get(&cache, &format!("k{n}")).is_some(), "k{n}");
    }
    assert!(get(&cache, "last").is_some());
    assert_eq!(cache.stats().damaged, 1);
}

/// A failure to open a file says nothing about what the file holds.
#[test]
fn hole_04_an_open_that_fails_forgets_nothing() {
    for tail in [Tail::Mapped, Tail::Heap] {
        let options = roomy().tail(tail);
        let machine = SimFs::new(8);
        let mut history = History::default();
        let cache = open(&machine, options.clone());
        history.play(&cache, &script()).unwrap();
        cache.flush().unwrap();
        let image = kill(&machine, cache);
        for n in 1.. {
            let image = image.process_crash();
            let plan = Plan::fail_nth(n, std::io::ErrorKind::OutOfMemory, false);
            let faulty = FaultFs::new(Arc::new(image.clone()), plan);
            let opened = Cache::open_with(Arc::new(faulty.clone()), DIR, options.clone());
            if let Ok(cache) = &opened
                && let Err(why) = history.check(cache, true)
            {
                panic!("call {n} fails: {why}");
            }
            std::mem::forget(opened);
            judge(&image.process_crash(), &options, &history, true, || {
                format!("{tail:?}: after call {n} failed")
            });
            if faulty.calls() < n {
                break;
            }
        }
    }
}

#[test]
fn hole_16_a_tail_that_moves_leaves_no_file_behind() {
    let machine = SimFs::new(9);
    let cache = open(&machine, roomy());
    cache.insert_durable("kept", "v").unwrap();
    let image = kill(&machine, cache);
    kill_every_recovery(&image, &roomy().tail_bytes(32 << 10), |again, m| {
        for options in [roomy(), roomy().tail_bytes(32 << 10)] {
            let again = again.process_crash();
            let cache = open(&again, options);
            assert!(get(&cache, "kept").is_some(), "recovery call {m}");
            let names = again.file_names(Path::new(DIR));
            let tails = names.iter().filter(|name| name.starts_with("tail-"));
            assert_eq!(tails.count(), 1, "recovery call {m}: {names:?}");
            std::mem::forget(cache);
        }
    });
}

#[test]
fn hole_11_what_only_the_ring_has_left_is_written_again() {
    let machine = SimFs::new(10);
    let cache = open(&machine, roomy());
    cache.insert_durable("before", "v").unwrap();
    cache.insert_durable("kept", [0xa5; 200]).unwrap();
    let mut image = kill(&machine, cache);
    let (path, at) = segments_with(&image, &[0xa5; 200]).remove(0);
    assert!(image.flip_bit(Path::new(&path), at + 100, 0));
    for life in 0..3 {
        let cache = open(&image, roomy());
        assert_eq!(get(&cache, "kept"), Some(vec![0xa5; 200]), "life {life}");
        assert!(get(&cache, "before").is_some());
        image = kill(&image, cache);
    }
}

/// The last frame rots in the tail; recovery forgets its key, and is killed before it has reset the tail.
#[test]
fn hole_11_a_tail_of_the_life_before_judges_nothing_twice() {
    let machine = SimFs::new(11);
    let cache = open(&machine, roomy());
    cache.insert_durable("kept", "v").unwrap();
    cache.insert("victim", [0x5a; 2_000]).unwrap();
    let image = kill(&machine, cache);
    let tail = file_with(&image, "tail-");
    let at = find_in(&image, &tail, &[0x5a; 2_000]).unwrap();
    assert!(image.flip_bit(Path::new(&tail), at + 1_000, 0));
    kill_every_recovery(&image, &roomy(), |again, m| {
        let cache = open(again, roomy());
        assert_eq!(get(&cache, "victim"), None, "recovery call {m}");
        assert!(get(&cache, "kept").is_some(), "recovery call {m}");
        assert_eq!(cache.stats().forgotten_all, 0, "recovery call {m}");
        std::mem::forget(cache);
    });
}
