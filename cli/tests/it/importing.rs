//! import: of streams that are damaged, or do not fit.

use std::fs;

use crate::support::{Ended, Scene, picture};

/// The stream's entries, of a small one.
fn small() -> (Scene, Vec<u8>) {
    let scene = Scene::with_cache();
    scene.ok(&["put", "cache", "a", "1"]);
    scene.ok(&["put", "cache", "b", "22", "--priority", "low"]);
    let stream = scene.ok(&["export", "cache"]);
    scene.ok(&["create", "other", "--capacity", "4MiB"]);
    scene.ok(&["put", "other", "a", "newer"]);
    (scene, stream)
}

fn import_damaged(scene: &Scene, stream: &[u8], piped: bool) -> Ended {
    if piped {
        return Ended::of(scene.command(&["import", "other"]).write_stdin(stream));
    }
    fs::write(scene.path("damaged"), stream).unwrap();
    scene.run(&["import", "other", "damaged"])
}

fn is_refused(scene: &Scene, stream: &[u8], piped: bool) {
    let ended = import_damaged(scene, stream, piped);
    assert!(
        [1, 3].contains(&ended.status),
        "{}: {}",
        ended.status,
        ended.stderr
    );
    ended.failed(ended.status, "nothing was imported");
}

/// Every byte of it: nothing of such a stream is in the cache afterwards, and what was there still is.
#[test]
fn a_flipped_byte_imports_nothing() {
    let (scene, stream) = small();
    for at in 0..stream.len() {
        let mut damaged = stream.clone();
        damaged[at] ^= 1 << (at % 8);
        is_refused(&scene, &damaged, at % 2 == 0);
    }
    assert_eq!(scene.text(&["keys", "other"]), "a\n");
    assert_eq!(scene.ok(&["get", "other", "a"]), b"newer");
    let ended = import_damaged(&scene, &stream, true);
    assert_eq!(ended.status, 0, "the whole one is taken: {}", ended.stderr);
    assert_eq!(scene.ok(&["get", "other", "a"]), b"1");
}

#[test]
fn a_stream_that_was_cut_imports_nothing() {
    let (scene, stream) = small();
    for len in 0..stream.len() {
        is_refused(&scene, &stream[..len], len % 2 == 0);
    }
    is_refused(&scene, &[&stream[..], b"x"].concat(), false);
    assert_eq!(scene.text(&["keys", "other"]), "a\n");
    assert_eq!(scene.ok(&["get", "other", "a"]), b"newer");
}

#[test]
fn each_damage_has_its_status_and_place() {
    let (scene, stream) = small();
    for (at, status, part) in [
        (0, 1, "no stream of `perennial export`"),
        (8, 3, "at offset 0 crc"),
        (16, 3, "at offset 16 an entry should begin"),
        (32, 3, "at offset 16 crc"),
        (stream.len() - 1, 3, "checksum"),
    ] {
        let mut damaged = stream.clone();
        damaged[at] ^= 1;
        import_damaged(&scene, &damaged, false).failed(status, part);
    }
    import_damaged(&scene, &stream[..20], true).failed(3, "at offset 16 it ends in the middle");
    import_damaged(&scene, b"", true).failed(1, "no stream of `perennial export`");
    scene.fails(&["import", "other", "absent"], 10, "absent does not exist");
}

/// The file that keeps what comes through a pipe has no name.
#[test]
fn nothing_is_left_of_a_pipe() {
    let (scene, stream) = small();
    let names = || {
        let all = picture(&scene.path("other"));
        let named = all.into_iter().map(|(path, _)| path);
        named
            .filter(|path| !path.display().to_string().contains("seg-"))
            .collect::<Vec<_>>()
    };
    let before = names();
    import_damaged(&scene, &stream[..40], true).failed(3, "ends in the middle");
    assert_eq!(names(), before);
    assert_eq!(import_damaged(&scene, &stream, true).status, 0);
    assert_eq!(names(), before);
}

#[test]
fn what_does_not_fit_is_said_before_anything_is_stored() {
    let scene = Scene::new();
    scene.ok(&["create", "cache", "--capacity", "64MiB"]);
    scene.ok(&["put", "cache", "a", "1"]);
    scene.ok(&["create", "other", "--capacity", "4MiB"]);
    // The second is smaller than a segment, which holds other things, too.
    for bytes in [300_000, 64_000] {
        fs::write(scene.path("large"), vec![1; bytes]).unwrap();
        scene.ok(&["put", "cache", "large", "--file", "large"]);
        scene.ok(&["export", "cache", "-o", "all"]);
        let part = "make a cache with larger segments";
        scene.fails(&["import", "other", "all"], 1, part);
        assert_eq!(scene.text(&["keys", "other"]), "");
    }
}

#[test]
fn an_import_that_ends_in_its_middle_says_how_far_it_came() {
    let scene = Scene::with_cache();
    scene.ok(&["put", "cache", "k", "v", "--priority", "pinned"]);
    scene.ok(&["export", "cache", "-o", "all"]);
    scene.ok(&[
        "create",
        "other",
        "--capacity",
        "4MiB",
        "--pinned-percent",
        "0",
    ]);
    let part = "at offset 16 was not stored: the cache does not keep k, which has no value now: pinned entries";
    scene.fails(&["import", "other", "all"], 1, part);
}

/// Pinned entries have all of their share, which only the cache knows.
#[test]
fn what_was_stored_before_an_import_failed_is_counted() {
    let scene = Scene::with_cache();
    scene.ok(&["put", "cache", "a", "1"]);
    scene.ok(&["put", "cache", "b", "1", "--priority", "pinned"]);
    scene.ok(&["put", "cache", "z", "1"]);
    scene.ok(&["export", "cache", "-o", "all"]);
    let create = ["create", "other", "--capacity", "4MiB"];
    scene.ok(&[&create[..], &["--pinned-percent", "0"]].concat());
    let part = "at offset 34 was not stored: the cache does not keep b";
    scene.fails(&["import", "other", "all"], 1, part);
    scene.fails(
        &["import", "other", "all"],
        1,
        "; 1 before it are in the cache",
    );
    assert_eq!(scene.text(&["keys", "other"]), "a\n");
}

#[test]
fn an_entry_that_has_ended_leaves_its_key_without_a_value() {
    let scene = Scene::with_cache();
    scene.ok(&["put", "cache", "k", "v", "--ttl", "4s"]);
    scene.ok(&["export", "cache", "-o", "all"]);
    scene.ok(&["create", "other", "--capacity", "4MiB"]);
    scene.ok(&["put", "other", "k", "older"]);
    while scene.run(&["get", "cache", "k"]).status == 0 {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let imported = scene.json(&["import", "other", "all", "--json"]);
    assert_eq!(
        (&imported["entries"], &imported["ended"]),
        (&1.into(), &1.into())
    );
    scene.fails(&["get", "other", "k"], 10, "k is not in the cache");
}
