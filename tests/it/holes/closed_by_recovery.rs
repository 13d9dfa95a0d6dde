//! Hole 19 for segments that a recovery closes: their end must show without the trailer, too.

use std::path::Path;

use perennial::Options;
use perennial_failpoints::SimFs;

use super::lab::{DIR, History, Step, get, judge, kill, kill_every_recovery, open, roomy};

const SEGMENT: u64 = 8 << 10;

fn options() -> Options {
    roomy().tail_bytes(4 << 10).checkpoint_every_bytes(1 << 20)
}

/// Fills some segments, dies so that the newest ends wherever it is, and lets another life go on.
fn two_lives(seed: u64, values: u32, power: bool) -> SimFs {
    let machine = SimFs::new(seed);
    let cache = open(&machine, options());
    cache.insert_durable("old", "v").unwrap();
    for n in 0..values {
        cache.insert(n.to_le_bytes(), [1; 400]).unwrap();
    }
    let mut machine = kill(&machine, cache);
    if power {
        machine = machine.power_loss(seed);
    }
    let cache = open(&machine, options());
    for n in 0..60_u32 {
        cache.insert(n.to_le_bytes(), [2; 400]).unwrap();
    }
    cache.flush().unwrap();
    kill(&machine, cache)
}

/// Whatever trailer rots, wherever: every frame is good, so nothing is to be forgotten.
#[test]
fn hole_19_a_segment_closed_by_a_recovery_does_without_its_trailer() {
    for (values, power) in (44..64).flat_map(|values| [(values, false), (values, true)]) {
        let machine = two_lives(10, values, power);
        for name in machine.file_names(Path::new(DIR)) {
            if !name.starts_with("seg-") {
                continue;
            }
            for back in [1, 30, 60] {
                let image = machine.process_crash();
                let path = format!("{DIR}/{name}");
                assert!(image.flip_bit(Path::new(&path), SEGMENT - back, 1));
                let cache = open(&image, options());
                let what = format!("{values} values, power {power}, {name}, {back}");
                assert_eq!(cache.stats().forgotten_all, 0, "{what}");
                assert!(get(&cache, "old").is_some(), "{what}");
                std::mem::forget(cache);
            }
        }
    }
}

/// The recovery that closes it dies, too: what the first one cut off does not come back behind the mark.
#[test]
fn hole_19_a_recovery_killed_while_it_closes_a_segment_is_repeated() {
    for values in 48..54_usize {
        let machine = SimFs::new(19);
        let mut history = History::default();
        let cache = open(&machine, options());
        let puts = (0..values).map(|n| Step::Put(u8::try_from(n % 7).unwrap(), 400));
        let mut steps: Vec<_> = puts.collect();
        steps.insert(values - 12, Step::Flush);
        history.play(&cache, &steps).unwrap();
        let unsynced = kill(&machine, cache);
        for seed in 0..12 {
            let dark = unsynced.power_loss(seed);
            kill_every_recovery(&dark, &options(), |again, m| {
                let what = || format!("{values} values, power {seed}, recovery call {m}");
                judge(again, &options(), &history, true, what);
                judge(&again.power_loss(m), &options(), &history, true, what);
            });
        }
        kill_every_recovery(&unsynced, &options(), |again, m| {
            let what = || format!("{values} values, killed, recovery call {m}");
            judge(again, &options(), &history, false, what);
        });
    }
}
