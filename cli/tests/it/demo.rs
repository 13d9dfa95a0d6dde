//! demo.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn perennial(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_perennial"))
        .args(args)
        .env_remove("RUST_LOG")
        .output()
        .unwrap()
}

fn status(output: &Output) -> i32 {
    output.status.code().unwrap()
}

/// Files of none, one and several blocks, all different.
fn tree() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("deep/er")).unwrap();
    for n in 0..40u32 {
        let bytes: Vec<u8> = (0..n * 7_001)
            .map(|i| (i.wrapping_mul(n + 3) >> 3).to_le_bytes()[0])
            .collect();
        let name = if n % 2 == 0 {
            format!("file-{n}")
        } else {
            format!("deep/er/file-{n}")
        };
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    dir
}

fn demo(tree: &Path, more: &[&str]) -> Output {
    let from = tree.to_str().unwrap();
    perennial(
        &[
            &["demo", "--lives", "2", "--bytes", "8MiB", "--from", from],
            more,
        ]
        .concat(),
    )
}

#[test]
fn nothing_acknowledged_is_lost_to_a_kill() {
    let tree = tree();
    let output = demo(tree.path(), &["--json"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(status(&output), 0, "{stderr}");

    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(stdout.lines().count(), 1, "{stdout}");
    let line: Value = serde_json::from_str(&stdout).unwrap();
    for zero in ["evicted", "lost", "stale", "wrong", "resurrected"] {
        assert_eq!(line[zero], 0, "{zero}: {stdout}{stderr}");
    }
    assert_eq!(line["lives"], 2);
    assert_eq!(line["acked"], line["found"]);
    assert!(line["found"].as_u64().unwrap() > 0, "{stdout}");
    assert!(line["open_ms_max"].as_f64().unwrap() > 0.0, "{stdout}");
    assert!(line["put_mb_s"].as_f64().unwrap() > 0.0, "{stdout}");
}

#[test]
fn a_chosen_cache_is_kept_and_sound() {
    let tree = tree();
    let home = tempfile::tempdir().unwrap();
    let cache = home.path().join("cache");
    let cache = cache.to_str().unwrap();
    let output = demo(tree.path(), &["--cache", cache]);
    assert_eq!(
        status(&output),
        0,
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(String::from_utf8_lossy(&output.stdout).contains("Still warm"));

    for command in ["stat", "verify"] {
        assert_eq!(status(&perennial(&[command, cache])), 0);
        let output = perennial(&[command, cache, "--json"]);
        assert_eq!(
            status(&output),
            0,
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice::<Value>(&output.stdout).unwrap();
    }

    let again = demo(tree.path(), &["--cache", cache]);
    assert_eq!(status(&again), 1);
    assert!(String::from_utf8_lossy(&again.stderr).contains("is not empty"));
}

#[test]
fn wrong_usage_is_2() {
    for args in [
        &[][..],
        &["frobnicate"],
        &["demo", "--bytes", "lots"],
        &["demo", "--lives", "0"],
        &["stat"],
    ] {
        let output = perennial(args);
        assert_eq!(status(&output), 2, "{args:?}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn a_missing_cache_is_10() {
    let dir = tempfile::tempdir().unwrap();
    let absent = dir.path().join("absent");
    for command in ["stat", "verify"] {
        let output = perennial(&[command, absent.to_str().unwrap()]);
        assert_eq!(status(&output), 10);
        assert!(output.stdout.is_empty());
        assert!(String::from_utf8_lossy(&output.stderr).contains("does not exist"));
    }
    assert!(!absent.exists(), "looking must not make anything");
}

#[test]
fn nothing_to_cache_is_1() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(status(&demo(dir.path(), &[])), 1);
    assert_eq!(status(&demo(&dir.path().join("absent"), &[])), 1);
}

/// Without cargo's registry in a home it caches what is in the current directory.
#[test]
fn no_home_is_needed() {
    let tree = tree();
    let from = format!(" from {},", fs::canonicalize(&tree).unwrap().display());
    let output = Command::new(env!("CARGO_BIN_EXE_perennial"))
        .args(["demo", "--lives", "1", "--bytes", "1MiB", "--json"])
        .current_dir(tree.path())
        .env_remove("CARGO_HOME")
        .env("HOME", tree.path().join("absent"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(status(&output), 0, "{said}");
    assert!(said.contains(&from), "{said}");
}
