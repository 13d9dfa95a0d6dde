use super::*;

type Led = Result<(), &'static str>;

#[test]
fn a_stable_target_returns_at_once() {
    let commit: Commit<&str> = Commit::new(Lsn(64));
    assert_eq!(
        commit.wait(Lsn(64), || -> Led { panic!("nothing to lead") }),
        Ok(())
    );
}

#[test]
fn the_leader_commits_and_returns() {
    let commit: Commit<&str> = Commit::new(Lsn(0));
    let lead = || {
        commit.publish(Lsn(32));
        Ok(())
    };
    assert_eq!(commit.wait(Lsn(32), lead), Ok(()));
}

#[test]
fn a_failure_reaches_waiters_and_the_first_reason_stays() {
    let commit: Commit<&str> = Commit::new(Lsn(0));
    commit.fail("first", || ());
    commit.fail("second", || ());
    assert_eq!(
        commit.wait(Lsn(16), || -> Led { panic!("no leading after a failure") }),
        Err("first")
    );
    assert_eq!(
        commit.wait(Lsn(0), || Ok(())),
        Ok(()),
        "what is stable stays so"
    );
}

#[test]
fn a_leader_that_panics_hands_leadership_on() {
    let commit: Commit<&str> = Commit::new(Lsn(0));
    let lead = || -> Led { panic!("the leader dies") };
    let died =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| commit.wait(Lsn(16), lead)));
    assert!(died.is_err());
    let lead = || {
        commit.publish(Lsn(16));
        Ok(())
    };
    assert_eq!(commit.wait(Lsn(16), lead), Ok(()));
}
