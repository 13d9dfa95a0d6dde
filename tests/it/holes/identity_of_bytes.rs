//! Holes 10 to 16 once more: single states, each with the two lives that it takes.

use std::path::Path;
use std::sync::{Arc, Mutex};

use perennial::{Cache, ErrorKind, Tail};
use perennial_failpoints::{Action, CallKind, FaultFs, Plan, SimFs};

use super::lab::{DIR, file_with, find_in, get, kill, noted, open, roomy, segments_with};

/// What lies in the tail of a killed process is written to the segments by a recovery that is killed before its sync;
/// then the power fails. So any part of it may survive.
fn torn(unsynced: &SimFs, seed: u64) -> SimFs {
    let lost = Arc::new(Mutex::new(None));
    let (image, dying) = (Arc::clone(&lost), unsynced.clone());
    let plan = Plan::new(|call| match call.kind {
        CallKind::SyncData if call.name.starts_with("seg-") => Action::KillBefore,
        _ => Action::Pass,
    });
    let on_kill = move || *image.lock().unwrap() = Some(dying.power_loss(seed));
    let fs = FaultFs::with_kill(Arc::new(unsynced.clone()), plan, Arc::new(on_kill));
    assert!(Cache::open_with(Arc::new(fs), DIR, roomy()).is_err());
    lost.lock().unwrap().take().unwrap()
}

/// What a first life left behind its end must not prove itself behind a second one's frames.
#[test]
fn hole_10_frames_of_a_life_cut_short_never_follow_another() {
    for seed in 0..300 {
        let machine = SimFs::new(seed);
        let cache = open(&machine, roomy());
        cache.insert_durable("kept", "v").unwrap();
        for n in 0..seed % 7 {
            cache.insert(format!("lost-{n}"), [1; 300]).unwrap();
        }
        // In the same place in each life, if the lives could be mistaken for each other.
        cache.insert("victim", [2; 100]).unwrap();
        cache.insert("filler", [3; 700]).unwrap();
        cache.insert("victim", [4; 100]).unwrap();
        cache.insert("last", [5; 2_000]).unwrap();
        let unsynced = kill(&machine, cache);
        let machine = torn(&unsynced, seed);

        let cache = open(&machine, roomy());
        assert!(get(&cache, "kept").is_some());
        cache.remove_durable("victim").unwrap();
        for n in 0..seed % 5 {
            cache.insert_durable(format!("new-{n}"), [6; 250]).unwrap();
        }
        for image in [machine.process_crash(), machine.power_loss(seed + 1)] {
            let cache = open(&image, roomy());
            assert_eq!(get(&cache, "victim"), None, "seed {seed}");
            assert!(get(&cache, "kept").is_some(), "seed {seed}");
        }
    }
}

/// The process dies while one entry is copied; the one behind it has returned.
fn with_a_hole() -> SimFs {
    let machine = SimFs::new(11);
    let cache = open(&machine, roomy());
    cache.insert_durable("before", "v").unwrap();
    cache.insert("half", "older").unwrap();
    let mut image = None;
    let fill = |_: &mut [u8]| {
        cache.insert("behind", "v").unwrap();
        image = Some(machine.process_crash());
        Ok::<_, String>(())
    };
    cache.insert_with_len("half", 500, fill).unwrap();
    std::mem::forget(cache);
    image.unwrap()
}

#[test]
fn hole_11_a_hole_never_becomes_damage() {
    let mut machine = with_a_hole();
    for life in 0..4_u32 {
        let cache = open(&machine, roomy());
        let stats = cache.stats();
        assert_eq!(stats.holes, u64::from(life == 0), "life {life}: {stats}");
        assert_eq!((stats.damaged, stats.forgotten_all), (0, 0), "life {life}");
        for key in ["before", "behind"] {
            assert!(get(&cache, key).is_some(), "life {life}: {key}");
        }
        assert_eq!(get(&cache, "half"), Some(b"older".to_vec()), "life {life}");
        // The stable LSN goes beyond the hole; first in its segment, which has no trailer yet, then far.
        for n in 0..3 + life * 10 {
            cache.insert_durable(n.to_le_bytes(), [1; 400]).unwrap();
        }
        machine = kill(&machine, cache);
        if life % 2 == 1 {
            machine = machine.power_loss(u64::from(life));
        }
    }
}

#[test]
fn hole_13_another_boot_ends_the_log_at_the_first_gap() {
    let mut cut = 0;
    for seed in 0..200 {
        let machine = SimFs::new(seed);
        let cache = open(&machine, roomy());
        cache.insert_durable("key-0", "v").unwrap();
        for n in 1..12 {
            cache.insert(format!("key-{n}"), [1; 600]).unwrap();
        }
        let unsynced = kill(&machine, cache);
        let machine = torn(&unsynced, seed);
        let cache = open(&machine, roomy());
        let there: Vec<bool> = (0..12)
            .map(|n| get(&cache, &format!("key-{n}")).is_some())
            .collect();
        assert!(there[0], "seed {seed}: the durable one is there");
        assert!(there.is_sorted_by(|a, b| a >= b), "seed {seed}: {there:?}");
        assert_eq!(cache.stats().holes, 0, "seed {seed}");
        cut += usize::from(there.contains(&true) && there.contains(&false));
    }
    assert!(cut > 20, "only {cut} were cut in the middle");
}

/// Damage to a durable entry's newest version; the stable LSN of a later mark says that it was on stable storage.
#[test]
fn hole_12_damage_shows_no_older_version() {
    for newest_is_a_remove in [false, true] {
        let machine = SimFs::new(12);
        let cache = open(&machine, roomy());
        cache.insert_durable("k", [1; 100]).unwrap();
        let before = segments_with(&machine, &[1; 100]).remove(0);
        if newest_is_a_remove {
            cache.remove_durable("k").unwrap();
        } else {
            cache.insert_durable("k", [2; 100]).unwrap();
        }
        cache.insert_durable("later", "v").unwrap();
        cache.insert_durable("latest", "v").unwrap();
        let machine = kill(&machine, cache).power_loss(0);
        let (path, at) = match segments_with(&machine, &[2; 100]).pop() {
            Some(value) => value,
            // The remove lies behind the mark behind the first version: its hash, and with it who it was about.
            None => (before.0, before.1 + 100 + 16 + 32 + 16),
        };
        assert!(machine.flip_bit(Path::new(&path), at + 3, 1));
        let mut machine = machine;
        for life in 0..3 {
            let cache = open(&machine, roomy());
            assert_eq!(get(&cache, "k"), None, "life {life}");
            assert!(get(&cache, "latest").is_some(), "life {life}");
            machine = kill(&machine, cache);
        }
    }
}

/// The same boot: what returned may lie in the tail alone. A bad bit there is no hole.
#[test]
fn hole_12_a_bad_bit_in_the_tail_is_not_a_hole() {
    let machine = SimFs::new(13);
    let cache = open(&machine, roomy());
    cache.insert_durable("k", [1; 100]).unwrap();
    cache.insert("k", [2; 100]).unwrap();
    cache.insert("later", "v").unwrap();
    let machine = kill(&machine, cache);
    let tail = file_with(&machine, "tail-");
    let at = find_in(&machine, &tail, &[2; 100]).unwrap();
    assert!(machine.flip_bit(Path::new(&tail), at + 50, 7));
    let cache = open(&machine, roomy());
    assert_eq!(get(&cache, "k"), None);
    assert!(get(&cache, "later").is_some());
    assert_eq!((cache.stats().damaged, cache.stats().holes), (1, 0));
}

/// A tail that survives lost power is a mix of laps: none of it is believed.
#[test]
fn hole_14_the_tail_of_another_boot_brings_nothing_back() {
    let machine = SimFs::new(14);
    let cache = open(&machine, roomy());
    cache.insert_durable("stable", "v").unwrap();
    cache.insert("in the tail alone", "v").unwrap();
    machine.mark_all_durable();
    let dark = machine.power_loss(0);
    let image = kill(&machine, cache);
    assert!(get(&open(&image, roomy()), "in the tail alone").is_some());
    let machine = dark;
    let tail = file_with(&machine, "tail-");
    assert!(
        find_in(&machine, &tail, b"in the tail alone").is_some(),
        "the tail survived"
    );
    let cache = open(&machine, roomy());
    assert!(get(&cache, "stable").is_some());
    assert_eq!(get(&cache, "in the tail alone"), None);
}

/// What the ring kept over a reboot, behind a clean mark, must not prove itself to the recovery after the next.
#[test]
fn hole_10_a_clean_end_is_not_gone_on_with_after_a_reboot() {
    let machine = SimFs::new(10);
    let cache = open(&machine, roomy());
    cache.insert("stable", "v").unwrap();
    cache.close().unwrap();
    let cache = open(&machine, roomy());
    cache.insert("in the tail alone", "v").unwrap();
    machine.mark_all_durable();
    let dark = machine.power_loss(0);
    drop(cache);
    let tail = file_with(&dark, "tail-");
    assert!(
        find_in(&dark, &tail, b"in the tail alone").is_some(),
        "the tail survived"
    );
    let mut machine = dark;
    for life in 0..3 {
        let cache = open(&machine, roomy());
        assert!(get(&cache, "stable").is_some());
        assert_eq!(get(&cache, "in the tail alone"), None, "life {life}");
        machine = kill(&machine, cache);
    }
}

/// A sync failed and the process died: what reads well may be on no disk. Recovery writes it again before it syncs.
#[test]
fn hole_15_recovery_writes_again_what_a_failed_sync_left() {
    let machine = SimFs::new(15);
    let fs = FaultFs::new(Arc::new(machine.clone()), Plan::none());
    let cache = Cache::open_with(Arc::new(fs.clone()), DIR, roomy()).unwrap();
    cache.insert_durable("before", "v").unwrap();
    fs.set_plan(Plan::fail_matching(
        CallKind::SyncData,
        std::io::ErrorKind::Other,
    ));
    let failed = cache.insert_durable("k", [0x77; 3_000]).unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Poisoned);
    fs.set_plan(Plan::none());
    let refused = cache.flush().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Poisoned, "no second attempt");
    let image = kill(&machine, cache);
    let (path, at) = segments_with(&image, &[0x77; 3_000]).remove(0);

    let again = Arc::new(Mutex::new(Vec::new()));
    let calls = Arc::clone(&again);
    let plan = Plan::new(move |call| {
        let end = call.offset + call.len;
        if path.ends_with(call.name) {
            let covers = call.kind == CallKind::Write && call.offset <= at && end >= at + 3_000;
            let syncs = call.kind == CallKind::SyncData;
            calls.lock().unwrap().extend(covers.then_some("write"));
            calls.lock().unwrap().extend(syncs.then_some("sync"));
        }
        Action::Pass
    });
    let fs = FaultFs::new(Arc::new(image), plan);
    let cache = Cache::open_with(Arc::new(fs), DIR, roomy()).unwrap();
    assert!(get(&cache, "k").is_some());
    assert_eq!(noted(&again)[..2], ["write", "sync"]);
}

#[test]
fn hole_16_other_tail_options_after_a_kill_lose_nothing() {
    let others = [
        roomy().tail(Tail::Heap),
        roomy().tail_bytes(32 << 10),
        roomy().tail_bytes(4 << 10),
        roomy().tail_dir("/elsewhere"),
    ];
    for (n, options) in others.iter().enumerate() {
        let machine = SimFs::new(16);
        let cache = open(&machine, roomy());
        cache.insert("plain", "v").unwrap();
        let machine = kill(&machine, cache);
        let cache = open(&machine, options.clone());
        assert!(get(&cache, "plain").is_some(), "options {n}");
        cache.insert("second", "v").unwrap();
        cache.flush().unwrap();
        // And back again.
        let machine = kill(&machine, cache);
        let cache = open(&machine, roomy());
        assert!(get(&cache, "plain").is_some(), "options {n}");
        assert!(get(&cache, "second").is_some(), "options {n}");
    }
}

/// The log is cut short by lost power near its segment's end; what lies behind the cut stays void, also when the
/// trailer that said so rots.
#[test]
fn hole_11_what_lies_behind_the_cut_stays_void_without_its_trailer() {
    for seed in 0..600_u64 {
        let machine = SimFs::new(seed);
        let cache = open(&machine, roomy().checkpoint_every_bytes(1 << 19));
        cache.insert_durable("k", "durable").unwrap();
        // So that the cut comes here and there in the segment's last sixteenth.
        for _ in 0..19 {
            cache.insert_durable("filler", [0; 200]).unwrap();
        }
        for n in 0..seed % 23 {
            cache.insert(format!("torn-{n}"), [1; 48]).unwrap();
        }
        cache.insert("k", "unsynced").unwrap();
        let unsynced = kill(&machine, cache);
        let machine = torn(&unsynced, seed);
        let cache = open(&machine, roomy());
        let shown = get(&cache, "k").unwrap();
        for n in 0..40_u32 {
            cache.insert_durable(n.to_le_bytes(), [3; 500]).unwrap();
        }
        let image = kill(&machine, cache);
        for (path, _) in segments_with(&image, b"PRNLTRL\0") {
            let image = image.process_crash();
            assert!(image.flip_bit(Path::new(&path), (8 << 10) - 60, 0));
            let found = get(&open(&image, roomy()), "k");
            assert!(
                found.is_none() || found == Some(shown.clone()),
                "seed {seed}, {path}: {found:?}"
            );
        }
    }
}
