//! put, get, del.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use crate::support::{Ended, Scene};

#[test]
fn what_is_put_is_what_get_prints() {
    let scene = Scene::with_cache();
    assert!(scene.ok(&["put", "cache", "tile/7/3", "first"]).is_empty());
    scene.ok(&["put", "cache", "tile/7/3", "second", "--durable"]);
    assert_eq!(scene.ok(&["get", "cache", "tile/7/3"]), b"second");
    assert_eq!(
        scene.ok(&["get", "cache", "tile/7/3", "--range", "1..4"]),
        b"eco"
    );
    scene.fails(
        &["get", "cache", "tile/7/4"],
        10,
        "tile/7/4 is not in the cache",
    );
}

#[test]
fn values_come_from_stdin_and_from_files() {
    let scene = Scene::with_cache();
    let value: Vec<u8> = (0..15_000_u32).flat_map(u32::to_le_bytes).collect();
    std::fs::write(scene.path("value"), &value).unwrap();
    scene.ok(&["put", "cache", "a", "--file", "value"]);
    let ended = Ended::of(
        scene
            .command(&["put", "cache", "b", "-"])
            .write_stdin(&value[..9]),
    );
    assert_eq!((ended.status, ended.stderr.as_str()), (0, ""));
    scene.ok(&["put", "cache", "c", "--", "-"]);
    scene.ok(&["put", "cache", "d", ""]);
    assert_eq!(scene.ok(&["get", "cache", "a"]), value);
    assert_eq!(scene.ok(&["get", "cache", "b"]), &value[..9]);
    assert_eq!(scene.ok(&["get", "cache", "c"]), b"", "stdin is empty");
    assert_eq!(scene.ok(&["get", "cache", "d"]), b"");
    scene.fails(
        &["put", "cache", "e", "--file", "absent"],
        10,
        "absent does not exist",
    );
}

#[test]
fn keys_and_values_are_any_bytes() {
    let scene = Scene::with_cache();
    let key = OsStr::from_bytes(b"a\xff\n\\");
    let value = OsStr::from_bytes(b"\xfe\x1b");
    scene.ok(&["put".as_ref(), "cache".as_ref(), key, value]);
    assert_eq!(
        scene.ok(&["get".as_ref(), "cache".as_ref(), key]),
        value.as_bytes()
    );
    let escaped = r"a\xff\n\\";
    assert_eq!(scene.text(&["keys", "cache"]), format!("{escaped}\n"));
    let found = scene.json(&["get", "cache", "--escaped", escaped, "--json"]);
    assert_eq!(
        (&found["key"], &found["value"]),
        (&escaped.into(), &r"\xfe\x1b".into())
    );
    assert_eq!(found["bytes"], 2);
    scene.fails(&["get", "cache", escaped], 10, "is not in the cache");
    scene.fails(&["get", "cache", "-e", r"a\q"], 2, r"a\\q cannot be read");
    scene.ok(&["del", "cache", "-e", escaped]);
    assert_eq!(scene.text(&["keys", "cache"]), "");
}

#[test]
fn what_is_out_of_range_is_usage() {
    let scene = Scene::with_cache();
    let long = "k".repeat(65_536);
    scene.fails(&["put", "cache", "", "value"], 2, "key");
    scene.fails(&["put", "cache", &long, "value"], 2, "65");
    std::fs::write(scene.path("huge"), vec![0; 200_000]).unwrap();
    scene.fails(&["put", "cache", "k", "--file", "huge"], 2, "segment");
    scene.fails(
        &["put", "cache", "k", "v", "--ttl", "99999d"],
        2,
        "February 2106",
    );
    assert_eq!(scene.text(&["keys", "cache"]), "");
}

#[test]
fn an_entry_with_a_time_to_live_ends() {
    let scene = Scene::with_cache();
    scene.ok(&["put", "cache", "short", "v", "--ttl", "1s"]);
    scene.ok(&["put", "cache", "long", "v", "--ttl", "1d"]);
    let since = Instant::now();
    while scene.run(&["get", "cache", "short"]).status == 0 {
        assert!(
            since.elapsed() < Duration::from_secs(20),
            "it is still there"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    scene.fails(&["get", "cache", "short"], 10, "short is not in the cache");
    assert_eq!(scene.ok(&["get", "cache", "long"]), b"v");
}

#[test]
fn pinned_entries_have_their_share_and_no_more() {
    let scene = Scene::with_cache();
    let put = ["put", "cache", "k", "v", "--priority", "pinned"];
    scene.ok(&put);
    let none = [&put[..], &["--pinned-percent", "0"]].concat();
    scene.fails(
        &none,
        1,
        "does not keep k, which has no value now: pinned entries have all of their share",
    );
    scene.fails(&["get", "cache", "k"], 10, "k is not in the cache");
}

#[test]
fn del_removes_and_says_what_was_not_there() {
    let scene = Scene::with_cache();
    for key in ["a/1", "a/2", "b/1", "b/2", "c"] {
        scene.ok(&["put", "cache", key, "v"]);
    }
    assert!(scene.ok(&["del", "cache", "a/1"]).is_empty());
    scene.fails(
        &["del", "cache", "x", "a/2", "a/1"],
        10,
        "the key x is not in the cache",
    );
    assert_eq!(scene.text(&["keys", "cache", "--sort"]), "b/1\nb/2\nc\n");
    assert_eq!(
        scene.text(&["del", "cache", "--prefix", "b/"]),
        "2 entries removed\n"
    );
    scene.fails(
        &["del", "cache", "--prefix", ""],
        2,
        "--all removes everything",
    );
    assert_eq!(scene.text(&["keys", "cache"]), "c\n");
    assert_eq!(
        scene.json(&["del", "cache", "--all", "--json"])["removed"],
        1
    );
    assert_eq!(
        scene.text(&["del", "cache", "--all"]),
        "0 entries removed\n"
    );
    assert_eq!(scene.text(&["keys", "cache"]), "");
}

#[test]
fn a_damaged_entry_is_no_miss() {
    let scene = Scene::with_cache();
    let value = "v".repeat(9000);
    scene.ok(&["put", "cache", "k", &value]);
    // More than the tail holds: then the value is in its segment alone.
    for n in 0..20_u32 {
        let other = n.to_string().repeat(30_000);
        scene.ok(&["put", "cache", &n.to_string(), &other[..30_000]]);
    }
    let damaged = crate::support::damage(&scene.path("cache"), value.as_bytes());
    assert_eq!(damaged, 1, "copies in segments");
    scene.fails(&["get", "cache", "k", "-q"], 3, "the entry of k is damaged");
    scene.ok(&["put", "cache", "k", "anew"]);
    assert_eq!(scene.ok(&["get", "cache", "k"]), b"anew");
}

#[test]
fn put_and_get_have_documents() {
    let scene = Scene::with_cache();
    let put = scene.json(&["put", "cache", "k", "value", "--json"]);
    assert_eq!((&put["key"], &put["bytes"]), (&"k".into(), &5.into()));
    let got = scene.json(&["get", "cache", "k", "--json"]);
    assert_eq!((&got["value"], &got["bytes"]), (&"value".into(), &5.into()));
}

#[cfg(not(feature = "lz4"))]
#[test]
fn a_codec_that_was_not_built_in_is_refused() {
    let scene = Scene::with_cache();
    let put = ["put", "cache", "k", "v", "--compression", "lz4"];
    scene.fails(&put, 2, "compression needs the feature `lz4`");
    assert_eq!(scene.text(&["keys", "cache"]), "");
}

#[cfg(feature = "lz4")]
#[test]
fn a_value_is_compressed_where_that_is_asked_for() {
    let scene = Scene::with_cache();
    let value = "v".repeat(30_000);
    let frame_bytes = || {
        let stat = scene.json(&["stat", "cache", "--json"]);
        stat["frame_bytes"].as_u64().unwrap()
    };
    scene.ok(&["put", "cache", "k", &value, "--compression", "lz4"]);
    assert!(frame_bytes() < 10_000);
    assert_eq!(scene.text(&["get", "cache", "k"]), value);
    scene.ok(&["put", "cache", "k", &value]);
    assert!(frame_bytes() > 30_000);
}

/// It says how new values are stored; what is there can be read without it.
#[cfg(not(any(feature = "lz4", feature = "zstd")))]
#[test]
fn a_remembered_codec_locks_nobody_out() {
    let scene = Scene::with_cache();
    scene.ok(&["put", "cache", "k", "v"]);
    let own = "capacity = \"4MiB\"\ncompression = \"zstd\"\n";
    std::fs::write(scene.path("cache/perennial.toml"), own).unwrap();
    assert_eq!(scene.ok(&["get", "cache", "k"]), b"v");
    for args in [
        &["keys", "cache"][..],
        &["export", "cache"],
        &["warm", "cache"],
        &["checkpoint", "cache"],
        &["resize", "cache", "8MiB"],
        &["del", "cache", "k"],
    ] {
        scene.ok(args);
    }
    for args in [
        &["put", "cache", "k", "v"][..],
        &["import", "cache", "stream"],
    ] {
        scene.fails(args, 2, "compression needs the feature `zstd`");
    }
}
