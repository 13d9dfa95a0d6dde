//! keys.

use std::io::Read;
use std::process::{Command, Stdio};

use perennial::{Cache, Options};

use crate::support::Scene;

fn filled(keys: u32) -> Scene {
    let scene = Scene::with_cache();
    let cache = Cache::open(scene.path("cache"), Options::new().capacity_bytes(4 << 20)).unwrap();
    for n in 0..keys {
        cache.insert(format!("{}/{n:05}", n % 3), b"v").unwrap();
    }
    cache.close().unwrap();
    scene
}

#[test]
fn every_key_is_listed_once() {
    let scene = filled(300);
    let listed = scene.text(&["keys", "cache"]);
    let mut listed: Vec<_> = listed.lines().collect();
    assert_eq!(listed.len(), 300);
    listed.sort_unstable();
    let sorted = scene.text(&["keys", "cache", "--sort"]);
    assert_eq!(sorted.lines().collect::<Vec<_>>(), listed);
}

#[test]
fn prefix_and_limit_choose() {
    let scene = filled(300);
    let two = scene.text(&["keys", "cache", "--prefix", "1/", "--sort", "--limit", "2"]);
    assert_eq!(two, "1/00001\n1/00004\n");
    assert_eq!(
        scene
            .text(&["keys", "cache", "--prefix", "1/"])
            .lines()
            .count(),
        100
    );
    assert_eq!(scene.text(&["keys", "cache", "--prefix", "nothing"]), "");
    assert_eq!(
        scene
            .text(&["keys", "cache", "--limit", "7"])
            .lines()
            .count(),
        7
    );
    assert_eq!(scene.text(&["keys", "cache", "--limit", "0"]), "");
}

#[test]
fn the_document_has_all_keys_and_their_number() {
    let scene = filled(50);
    let all = scene.json(&["keys", "cache", "--json", "--sort"]);
    assert_eq!(
        (&all["count"], &all["keys"][49]),
        (&50.into(), &"2/00047".into())
    );
    let none = scene.json(&["keys", "cache", "--json", "--prefix", "x"]);
    assert_eq!(none.to_string(), r#"{"count":0,"keys":[]}"#);
}

/// More than a pipe holds, to a reader who wants one line.
#[test]
fn a_reader_that_goes_away_is_no_error() {
    let scene = filled(20_000);
    let mut child = Command::new(env!("CARGO_BIN_EXE_perennial"))
        .args(["keys", "cache"])
        .current_dir(scene.path("."))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 8];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        scene.text(&["keys", "cache"]).lines().count(),
        20_000,
        "all are still there"
    );
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let scene = filled(10);
    for args in [
        &["keys", "cache"][..],
        &["keys", "cache", "--json"],
        &["stat", "cache"],
    ] {
        let full = std::fs::File::options()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_perennial"))
            .args(args)
            .current_dir(scene.path("."))
            .stdout(full)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.starts_with("perennial: output: No space left"),
            "{said}"
        );
    }
}
