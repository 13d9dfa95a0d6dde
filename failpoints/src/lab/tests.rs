//! The lab passes a store that is right, and names what is wrong with others, in few steps.

use super::toy::{Bug, Toy};
use super::{Choice, Crash, CrashLab, Failure, Keeps, Kept, Options, Oracle, Report, Step, value};

/// Long enough for every bug, and longer than any of them needs.
const SCRIPT: [Step; 10] = [
    Step::put(0, 700),
    Step::put(1, 40),
    Step::put(1, 90).durable(),
    Step::Get { key: 1 },
    Step::remove(0),
    Step::put(2, 1_500),
    Step::Flush,
    Step::remove(1).durable(),
    Step::Reopen,
    Step::put(0, 30),
];

fn options() -> Options {
    Options {
        depth: 2,
        crash_one_recovery_in: 1,
        ..Options::new(Keeps::Everything)
    }
}

fn tried(bug: Bug) -> (Result<(), Failure>, Report) {
    let toy = Toy(bug);
    let mut lab = CrashLab::new(&toy, options());
    (lab.run(&SCRIPT), lab.report())
}

/// Fails with `why` in no more than `steps` steps, and fails the same when the short script is played again.
fn found(bug: Bug, why: &str, steps: usize) -> Failure {
    let failure = tried(bug).0.expect_err("the bug shows");
    assert!(failure.why.contains(why), "{failure}");
    assert!(failure.script.len() <= steps, "{failure}");
    let toy = Toy(bug);
    let again = CrashLab::new(&toy, options()).run(&failure.script);
    assert_eq!(again.expect_err("it is repeatable").why, failure.why);
    failure
}

#[test]
fn a_store_that_is_right_passes() {
    let (passed, report) = tried(Bug::None);
    if let Err(failure) = passed {
        panic!("{failure}");
    }
    assert_eq!(report.scripts, 1);
    // Before each of the calls, and after each step.
    assert!(report.moments > SCRIPT.len() as u64, "{report}");
    assert!(report.distinct > 200, "{report}");
    // Each is opened, opened again, lived on and opened a last time.
    assert!(report.opens >= 4 * report.distinct, "{report}");
}

#[test]
fn the_same_script_has_the_same_states_every_time() {
    assert_eq!(tried(Bug::None).1, tried(Bug::None).1);
}

/// One after the other, the chosen states are those that the lab goes through by itself.
#[test]
fn a_chosen_state_is_judged_alone() {
    let tries = |bug: Bug, crash: Crash, kept: Kept| {
        let toy = Toy(bug);
        let mut lab = CrashLab::new(&toy, Options::new(Keeps::Everything));
        let choices = (0..200).map(|moment| Choice {
            moment,
            crash,
            kept,
        });
        let failed = choices.filter_map(|choice| lab.run_one(&SCRIPT, choice).err());
        let failed: Vec<Failure> = failed.collect();
        assert_eq!(lab.report().scripts, 200);
        failed
    };
    for kept in [Kept::These(0), Kept::These(u64::MAX), Kept::BySeed(3)] {
        assert_eq!(tries(Bug::None, Crash::Power, kept), []);
    }
    assert_eq!(tries(Bug::None, Crash::Kill, Kept::These(0)), []);
    for (bug, crash) in [
        (Bug::NoFileSync, Crash::Power),
        (Bug::AckBeforeWrite, Crash::Kill),
    ] {
        let failed = tries(bug, crash, Kept::These(0));
        assert!(failed.iter().any(|failure| failure.why.contains("lost")));
        assert!(failed.iter().all(|failure| failure.script == SCRIPT));
    }
}

#[test]
fn a_put_that_is_not_synced_is_lost() {
    found(Bug::NoFileSync, "lost", 1);
}

#[test]
fn a_file_whose_name_is_not_synced_is_lost() {
    found(Bug::NoDirSync, "lost", 1);
}

#[test]
fn a_put_that_returns_before_it_is_written_is_lost_to_a_kill() {
    // Or an older one is there, where the life after a recovery is killed.
    let failure = found(Bug::AckBeforeWrite, "; expected one of [Some(", 1);
    assert!(failure.at.contains("killed"), "{failure}");
}

#[test]
fn a_remove_that_is_not_logged_is_resurrected() {
    // Of its own, or one of the life after a recovery.
    let failure = found(Bug::ResurrectsRemoved, "resurrected", 2);
    let removes = |step: &Step| matches!(step, Step::Remove { .. });
    let its_own = failure.script.iter().any(removes);
    assert!(its_own || failure.at.contains("the crash after that"));
}

#[test]
fn a_recovery_that_changes_what_it_found_is_told_by_the_next() {
    let failure = found(Bug::SecondRecoveryDiffers, "lost", 1);
    assert!(failure.at.contains("a second recovery"), "{failure}");
}

#[test]
fn a_store_that_does_not_open_after_a_torn_tail() {
    found(Bug::RefusesTornTails, "does not open", 1);
}

#[test]
fn a_store_that_believes_a_torn_tail() {
    let failure = found(Bug::BelievesTornTails, "key-", 1);
    assert!(failure.at.contains("power lost"), "{failure}");
}

#[test]
fn a_failure_prints_its_script() {
    let failure = Failure {
        script: vec![Step::put(0, 30), Step::remove(0)],
        at: "after step 1, power lost".to_owned(),
        why: "key-0: resurrected".to_owned(),
    };
    let printed = failure.to_string();
    for part in ["key-0", "power lost", "step 0: Put", "step 1: Remove"] {
        assert!(printed.contains(part), "{printed}");
    }
}

const KEY: &[u8] = b"key";

fn shows(oracle: &Oracle, op: Option<u64>, crash: Crash) -> Result<(), String> {
    let bytes = op.map(|op| value(KEY, op, 40));
    oracle.clone().check_recovered(KEY, bytes.as_deref(), crash)
}

/// put 1 durable, put 2, remove, put 3 under way
fn history(keeps: Keeps) -> Oracle {
    let mut oracle = Oracle::new(keeps);
    oracle.returned(KEY, Some(1), true);
    oracle.returned(KEY, Some(2), false);
    oracle.returned(KEY, None, false);
    oracle.issued(KEY, Some(3));
    oracle
}

#[test]
fn a_kill_keeps_what_returned_and_lost_power_what_was_durable() {
    let oracle = history(Keeps::Everything);
    for (op, kill, power) in [
        (None, true, true),
        (Some(1), false, true),
        (Some(2), false, true),
        (Some(3), true, true),
        (Some(4), false, false),
    ] {
        assert_eq!(shows(&oracle, op, Crash::Kill).is_ok(), kill, "{op:?}");
        assert_eq!(shows(&oracle, op, Crash::Power).is_ok(), power, "{op:?}");
    }
}

#[test]
fn a_store_may_not_lose_what_a_cache_may() {
    for (keeps, may) in [(Keeps::Everything, false), (Keeps::WhatItLikes, true)] {
        let mut oracle = Oracle::new(keeps);
        oracle.returned(KEY, Some(1), true);
        assert_eq!(shows(&oracle, None, Crash::Power).is_ok(), may);
        assert_eq!(oracle.check_running(KEY, None).is_ok(), may);
    }
}

#[test]
fn what_was_seen_after_a_crash_stays() {
    for crash in [Crash::Kill, Crash::Power] {
        let mut oracle = history(Keeps::Everything);
        let seen = value(KEY, 3, 40);
        oracle.check_recovered(KEY, Some(&seen), crash).unwrap();
        assert!(shows(&oracle, None, Crash::Power).is_err());
        assert!(shows(&oracle, Some(3), Crash::Power).is_ok());
    }
}

#[test]
fn what_a_cache_forgot_may_come_back_but_nothing_older() {
    let mut oracle = history(Keeps::WhatItLikes);
    oracle.returned(KEY, Some(4), false);
    oracle.check_recovered(KEY, None, Crash::Kill).unwrap();
    assert!(shows(&oracle, Some(4), Crash::Kill).is_ok());
    assert!(shows(&oracle, Some(2), Crash::Kill).is_err());
}

#[test]
fn errors_name_what_is_wrong() {
    let mut oracle = history(Keeps::Everything);
    let of =
        |found: &[u8], oracle: &mut Oracle| oracle.check_running(KEY, Some(found)).unwrap_err();
    assert!(of(&value(KEY, 2, 40), &mut oracle).contains("stale"));
    assert!(of(&value(KEY, 9, 40), &mut oracle).contains("none of this key's"));
    assert!(of(&value(b"kez", 3, 40), &mut oracle).contains("wrong bytes"));
    assert!(of(&value(KEY, 3, 40)[..39], &mut oracle).contains("torn"));
    oracle.returned(KEY, None, false);
    assert!(of(&value(KEY, 2, 40), &mut oracle).contains("resurrected"));
}

#[test]
fn a_clear_is_whole_or_not_at_all() {
    let mut oracle = Oracle::new(Keeps::Everything);
    oracle.returned(b"one", Some(1), true);
    oracle.returned(b"two", Some(2), true);
    oracle.returned(b"gone", Some(3), true);
    oracle.returned(b"gone", None, false);
    oracle.clear_issued();
    let shown = |key: &[u8], op: Option<u64>| (key.to_vec(), op.map(|op| value(key, op, 40)));
    let after = |crash, one, two, gone| {
        let map = [shown(b"one", one), shown(b"two", two), shown(b"gone", gone)];
        let mut oracle = oracle.clone();
        oracle.check_clear(&map, crash)?;
        let mut each = map.iter();
        each.try_for_each(|(key, found)| oracle.check_recovered(key, found.as_deref(), crash))
    };
    for crash in [Crash::Kill, Crash::Power] {
        assert_eq!(after(crash, None, None, None), Ok(()));
        assert_eq!(after(crash, Some(1), Some(2), None), Ok(()));
        let alone = after(crash, Some(1), None, None).expect_err("half of it");
        assert!(alone.contains("two: cleared"), "{alone}");
    }
    assert_eq!(after(Crash::Power, Some(1), Some(2), Some(3)), Ok(()));
    after(Crash::Power, Some(1), None, Some(3)).expect_err("half of it");
    after(Crash::Kill, Some(1), Some(2), Some(3)).expect_err("it was removed");
    oracle.clear_returned();
    let mut all = oracle.clone();
    assert_eq!(all.check_recovered(b"one", None, Crash::Power), Ok(()));
    let back = value(b"two", 2, 40);
    let back = oracle.check_recovered(b"two", Some(&back), Crash::Power);
    assert!(back.expect_err("it was cleared").contains("resurrected"));
}
