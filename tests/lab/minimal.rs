//! One minimal test per hard problem of storage engines like this one; the numbers are those of `docs/testing.md`, which
//! names the tests of the others and says which cannot occur.

use perennial::Eviction;
use perennial_failpoints::lab::{Driver, Keeps, Options, Step};

use crate::driver::{CHECKPOINT, Perennial, Undamaged, small};
use crate::odd::OnOddMachines;
use crate::{Case, effort, run_all};

/// Crashes every recovery, and those of the crashed recoveries.
pub(crate) fn crashed<D: Driver + Sync>(name: &str, driver: &D, keeps: Keeps, script: &[Step]) {
    let options = Options {
        crash_one_recovery_in: if effort() < 10 { 64 } else { 8 },
        depth: 2,
        ..Options::new(keeps)
    };
    let case = Case {
        script: script.to_vec(),
        from: 0,
    };
    let report = run_all(name, driver, options, &[case]);
    assert!(report.distinct > 200, "{report}");
}

fn kept(name: &str, script: &[Step]) {
    let driver = Undamaged(Perennial(small(1 << 20)));
    crashed(name, &driver, Keeps::Everything, script);
}

/// 2: the segments in front of a checkpoint's own are there until it is durable, and while it does not count.
#[test]
fn checkpoint_is_prefix() {
    let script = [
        Step::put(0, 2_500),
        Step::put(1, 2_500),
        Step::put(2, 2_500),
        Step::put(3, 2_500),
        Step::Other(CHECKPOINT),
        Step::put(0, 2_500),
        Step::remove(1),
    ];
    kept("checkpoint_is_prefix", &script);
}

/// 4: every open takes place a day before the last one.
#[test]
fn clock_goes_back() {
    let script = [
        Step::put(0, 100).durable(),
        Step::Reopen,
        Step::put(0, 200).durable(),
        Step::put(1, 100),
        Step::Reopen,
        Step::remove(1),
        Step::put(0, 300),
    ];
    let driver = OnOddMachines::new(Perennial(small(1 << 20)));
    crashed("clock_goes_back", &driver, Keeps::Everything, &script);
}

/// 6: versions of one key in three segments, read back from a directory that lists the newest first.
#[test]
fn two_flushers_same_key() {
    let script = [
        Step::put(0, 2_500),
        Step::put(1, 2_500),
        Step::put(0, 2_600),
        Step::put(1, 2_600),
        Step::put(0, 2_700),
        Step::remove(1),
        Step::put(2, 2_800),
        Step::put(0, 100),
    ];
    let driver = OnOddMachines::new(Perennial(small(1 << 20)));
    crashed("two_flushers_same_key", &driver, Keeps::Everything, &script);
}

/// 9: what a crash tears is not counted as damage, here and wherever else in this file the driver is [`Undamaged`]. The
/// other half is `bitrot_below_stable_is_reported`.
#[test]
fn tear_above_stable_is_silent() {
    let script = [
        Step::put(0, 1_500).durable(),
        Step::put(1, 2_500),
        Step::put(2, 1_500),
        Step::remove(0),
        Step::put(0, 3_000),
    ];
    kept("tear_above_stable_is_silent", &script);
}

/// 10: frames of one size, so that those of a life cut short lie where the next one's end; the life after each recovery
/// writes less.
#[test]
fn stale_epoch_record() {
    let script = [
        Step::put(0, 100),
        Step::put(1, 40).durable(),
        Step::put(0, 100),
        Step::put(2, 300),
        Step::put(1, 60),
        Step::put(0, 100),
    ];
    kept("stale_epoch_record", &script);
}

/// 11: recoveries are cut before each of their calls, and those recoveries again; each of them where there is time for it.
#[test]
fn crash_during_recovery() {
    let options = Options {
        crash_one_recovery_in: if effort() < 10 { 8 } else { 1 },
        depth: 2,
        ..Options::new(Keeps::Everything)
    };
    let script = vec![Step::put(0, 300), Step::remove(0), Step::put(1, 40)];
    let case = Case { script, from: 0 };
    let driver = Undamaged(Perennial(small(1 << 20)));
    let report = run_all("crash_during_recovery", &driver, options, &[case]);
    // Without them there are no more than a few hundred.
    assert!(report.distinct > 2_000, "{report}");
}

/// 13: the smallest script of which metadata can be kept and data lost; every subset of what is not synced is tried.
#[test]
fn valid_bit_before_data() {
    let script = [
        Step::put(0, 1_000),
        Step::put(0, 900).durable(),
        Step::put(1, 1_000),
        Step::Flush,
    ];
    kept("valid_bit_before_data", &script);
}

/// 16
#[test]
fn delete_unflushed() {
    kept("delete_unflushed", &[Step::put(0, 100), Step::remove(0)]);
    let durable = [Step::put(0, 100), Step::remove(0).durable()];
    kept("delete_unflushed, durable", &durable);
}

/// 16: the value has been durable, and in a checkpoint, before it goes.
#[test]
fn delete_then_crash() {
    let script = [
        Step::put(0, 100).durable(),
        Step::Other(CHECKPOINT),
        Step::remove(0),
        Step::Reopen,
        Step::put(1, 100).durable(),
    ];
    kept("delete_then_crash", &script);
}

/// 16
#[test]
fn put_delete_put_one_log() {
    let script = [
        Step::put(0, 100),
        Step::remove(0),
        Step::put(0, 200),
        Step::remove(0).durable(),
        Step::put(0, 300),
    ];
    kept("put_delete_put_one_log", &script);
}

/// 17: enough is put to evict the first segments, with the removed keys' values and then their removes in them.
#[test]
fn evicted_may_return_deleted_may_not() {
    let mut script = vec![
        Step::put(0, 1_000),
        Step::put(1, 1_000).durable(),
        Step::remove(0).durable(),
        Step::put(1, 900),
    ];
    let more = (0..24).map(|n| Step::put(2 + n % 3, 2_000));
    script.extend(more);
    script.push(Step::Get { key: 1 });
    let driver = Undamaged(Perennial(small(64 << 10)));
    let name = "evicted_may_return_deleted_may_not";
    crashed(name, &driver, Keeps::WhatItLikes, &script);
}

/// 14: a remove may go with its segment only when no older version can come back: a copy of it among the kept segments lies in
/// no log segment before it.
#[test]
fn minimal_14_leapfrog() {
    for eviction in [Eviction::S3Merge, Eviction::Clock] {
        let fill = |n: u8| Step::put(3 + n % 6, 1_500);
        let mut script = vec![Step::put(0, 500), Step::put(1, 500)];
        for n in 0..70 {
            script.extend([Step::Get { key: 0 }, Step::Get { key: 1 }, fill(n)]);
        }
        // Copied by now; the next versions lie in the log, and go with their segment.
        script.extend([Step::remove(0), Step::put(1, 40), Step::Flush]);
        let from = script.len();
        script.extend((0..30).map(fill));
        script.extend([Step::Reopen, fill(0), fill(1)]);
        let driver = Undamaged(Perennial(small(96 << 10).eviction(eviction)));
        let options = Options {
            crash_one_recovery_in: 64,
            ..Options::new(Keeps::WhatItLikes)
        };
        let name = format!("leapfrog, {eviction:?}");
        let report = run_all(&name, &driver, options, &[Case { script, from }]);
        assert!(report.distinct > 200, "{report}");
    }
}
