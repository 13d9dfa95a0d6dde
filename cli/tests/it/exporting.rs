//! export, import, warm.

use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};

use perennial::{Cache, Entry, InsertOptions, Options, Priority};

use crate::support::{Ended, Scene, damage, picture};

fn open(scene: &Scene, cache: &str) -> Cache {
    Cache::open(scene.path(cache), Options::new().capacity_bytes(4 << 20)).unwrap()
}

/// Keys and values of all bytes and several lengths, all priorities, one with an end.
fn filled() -> Scene {
    let scene = Scene::with_cache();
    let cache = open(&scene, "cache");
    for n in 0..=255_u8 {
        let value = vec![n; usize::from(n) * 40];
        let priority = [Priority::Low, Priority::Normal, Priority::Pinned][usize::from(n % 3)];
        let options = InsertOptions::new().priority(priority);
        cache.insert_with([n, b'k'], value, options).unwrap();
    }
    let far = InsertOptions::new().ends_at_s(u32::MAX);
    cache.insert_with("ends", "v", far).unwrap();
    cache.close().unwrap();
    scene.ok(&["create", "other", "--capacity", "4MiB"]);
    scene
}

fn entries(scene: &Scene, name: &str) -> Vec<(Box<[u8]>, Entry)> {
    let cache = open(scene, name);
    let keys = cache.scan::<&[u8]>(..).map(Result::unwrap);
    let entries = keys.map(|key| (key.clone(), cache.entry(&key).unwrap().unwrap()));
    entries.collect()
}

#[test]
fn what_is_exported_is_imported() {
    let scene = filled();
    let exported = scene.json(&["export", "cache", "--output", "all", "--json"]);
    assert_eq!(exported["entries"], 257);
    assert_eq!(
        exported["bytes"],
        fs::metadata(scene.path("all")).unwrap().len()
    );
    scene.ok(&["put", "other", "ends", "older"]);
    scene.ok(&["put", "other", "stays", "v"]);
    let imported = scene.json(&["import", "other", "all", "--json"]);
    assert_eq!(
        (&imported["entries"], &imported["bytes"]),
        (&257.into(), &exported["bytes"])
    );
    assert_eq!(
        (&imported["ended"], &imported["evicted"]),
        (&0.into(), &0.into())
    );

    let (before, mut after) = (entries(&scene, "cache"), entries(&scene, "other"));
    assert_eq!(before.len(), 257);
    let stays = after
        .iter()
        .position(|(key, _)| &**key == b"stays")
        .unwrap();
    after.remove(stays);
    assert_eq!(before, after);
}

#[test]
fn it_goes_through_a_pipe() {
    let scene = filled();
    let stream = scene.ok(&["export", "cache"]);
    scene.ok(&["export", "cache", "-o", "all"]);
    assert_eq!(fs::read(scene.path("all")).unwrap(), stream);
    let ended = Ended::of(
        scene
            .command(&["import", "other"])
            .write_stdin(stream.clone()),
    );
    assert_eq!((ended.status, ended.stderr.as_str()), (0, ""));
    assert_eq!(entries(&scene, "cache"), entries(&scene, "other"));

    // A file on stdin that is not read from its beginning.
    fs::write(scene.path("behind"), [&b"before"[..], &stream].concat()).unwrap();
    let script = "{ head -c 6 >/dev/null; exec \"$0\" import third; } <behind";
    scene.ok(&["create", "third", "--capacity", "4MiB"]);
    let mut shell = Command::new("sh");
    shell.args(["-c", script, env!("CARGO_BIN_EXE_perennial")]);
    let ended = shell.current_dir(scene.path(".")).output().unwrap();
    assert!(ended.status.success(), "{ended:?}");
    assert_eq!(entries(&scene, "cache"), entries(&scene, "third"));
}

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
    fs::write(scene.path("large"), vec![1; 300_000]).unwrap();
    scene.ok(&["put", "cache", "a", "1"]);
    scene.ok(&["put", "cache", "large", "--file", "large"]);
    scene.ok(&["export", "cache", "-o", "all"]);
    scene.ok(&["create", "other", "--capacity", "4MiB"]);
    scene.fails(
        &["import", "other", "all"],
        1,
        "make a cache with larger segments",
    );
    assert_eq!(scene.text(&["keys", "other"]), "");
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
    let part = "at offset 16 was not stored: the cache does not keep k: pinned entries";
    scene.fails(&["import", "other", "all"], 1, part);
}

/// A few bytes too large for a segment, which only the cache knows.
#[test]
fn what_was_stored_before_an_import_failed_is_counted() {
    let scene = Scene::new();
    scene.ok(&["create", "cache", "--capacity", "64MiB"]);
    fs::write(scene.path("large"), vec![1; 64_000]).unwrap();
    scene.ok(&["put", "cache", "a", "1"]);
    scene.ok(&["put", "cache", "large", "--file", "large"]);
    scene.ok(&["put", "cache", "z", "1"]);
    scene.ok(&["export", "cache", "-o", "all"]);
    scene.ok(&["create", "other", "--capacity", "4MiB"]);
    let part = "at offset 34 was not stored: a value of 64000 bytes does not fit";
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
    scene.ok(&["put", "cache", "k", "v", "--ttl", "2s"]);
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

/// A damaged entry is left out of the stream, which is sound, and the status says so.
#[test]
fn a_damaged_cache_gives_what_it_has() {
    let scene = Scene::with_cache();
    let value = "v".repeat(9000);
    scene.ok(&["put", "cache", "k", &value]);
    for n in 0..20_u32 {
        let other = n.to_string().repeat(30_000);
        scene.ok(&["put", "cache", &n.to_string(), &other[..30_000]]);
    }
    assert_eq!(damage(&scene.path("cache"), value.as_bytes()), 1);
    let ended = scene.run(&["export", "cache", "-o", "all", "-q"]);
    assert_eq!(ended.status, 3);
    assert!(
        ended.stderr.contains("1 entries cannot be read"),
        "{}",
        ended.stderr
    );
    scene.ok(&["create", "other", "--capacity", "4MiB"]);
    assert_eq!(
        scene.json(&["import", "other", "all", "--json"])["entries"],
        20
    );
}

/// A list of keys may be cut off; a stream may not.
#[test]
fn a_reader_that_goes_away_is_told_and_no_panic() {
    let scene = filled();
    let mut child = Command::new(env!("CARGO_BIN_EXE_perennial"))
        .args(["export", "cache"])
        .current_dir(scene.path("."))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 8];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        (output.status.code(), said.lines().count()),
        (Some(1), 1),
        "{said}"
    );
    assert!(said.starts_with("perennial: output: Broken pipe"), "{said}");
}

#[test]
fn a_failed_export_leaves_the_file_that_was_there() {
    let scene = filled();
    fs::write(scene.path("all"), "older").unwrap();
    scene.fails(
        &["export", "absent", "-o", "all"],
        10,
        "absent does not exist",
    );
    assert_eq!(fs::read(scene.path("all")).unwrap(), b"older");
    scene.fails(
        &["export", "cache", "-o", "no/such/file"],
        1,
        "no/such/file",
    );
    scene.ok(&["export", "cache", "-o", "all"]);
    assert!(
        fs::read(scene.path("all"))
            .unwrap()
            .starts_with(b"PRNLEXPT")
    );
}

#[test]
fn warming_reads_up_to_its_limit_and_drops_nothing() {
    let scene = filled();
    let before = entries(&scene, "cache");
    let all = scene.json(&["warm", "cache", "--json"]);
    assert_eq!((&all["entries"], &all["left"]), (&257.into(), &0.into()));
    let bytes: usize = before
        .iter()
        .map(|(key, entry)| key.len() + entry.value.len())
        .sum();
    assert_eq!(all["bytes"], bytes);
    let some = scene.json(&["warm", "cache", "--bytes", "100KiB", "--json"]);
    let read = some["bytes"].as_u64().unwrap();
    assert!(((100 << 10)..(112 << 10)).contains(&read), "{read}");
    assert_eq!(
        some["entries"].as_u64().unwrap() + some["left"].as_u64().unwrap(),
        257
    );
    assert!(scene.text(&["warm", "cache"]).contains("257 entries read"));
    assert_eq!(entries(&scene, "cache"), before);
}
