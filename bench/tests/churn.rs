//! Twice its capacity through a cache, with restarts, half of them kills: each life finds its ledger and its values right.

use std::process::Command;

#[test]
fn twice_the_capacity() {
    let churn = Command::new(env!("CARGO_BIN_EXE_perennial-bench"))
        .args(["churn", "--times", "2", "--restarts", "10"])
        .args(["--capacity", "67108864", "--json"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&churn.stdout);
    let why = String::from_utf8_lossy(&churn.stderr);
    assert!(churn.status.success(), "{said}{why}");
    assert_eq!(said.lines().count(), 10, "{said}{why}");
    assert!(
        said.lines().all(|line| line.contains("\"lives\":1,")),
        "{said}"
    );
}
