//! export, import of what it made, warm.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::process::{Command, Stdio};

use perennial::{Cache, Entry, InsertOptions, Options, Priority};

use crate::support::{Ended, Scene, damage};

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
        ended.stderr.contains("1 of the entries cannot be read"),
        "{}",
        ended.stderr
    );
    scene.ok(&["create", "other", "--capacity", "4MiB"]);
    assert_eq!(
        scene.json(&["import", "other", "all", "--json"])["entries"],
        20
    );

    // To a cache that is opened anew it is there, and damaged, again.
    let warmed = scene.run(&["warm", "cache", "-q", "--json"]);
    assert_eq!(warmed.status, 3);
    let part = "1 of the entries cannot be read; see `perennial verify`";
    assert!(warmed.stderr.contains(part), "{}", warmed.stderr);
    let document: serde_json::Value = serde_json::from_slice(&warmed.stdout).unwrap();
    let counts = ["entries", "left", "unreadable"].map(|name| document[name].as_u64().unwrap());
    assert_eq!(counts, [20, 1, 1]);
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
    assert_eq!(all["unreadable"], 0);
    assert!(scene.text(&["warm", "cache"]).contains("257 entries read"));
    assert_eq!(entries(&scene, "cache"), before);
}

fn mode(scene: &Scene, name: &str) -> u32 {
    let about = fs::symlink_metadata(scene.path(name)).unwrap();
    about.permissions().mode() & 0o7777
}

/// What is under the name and is no file stays what it is.
#[test]
fn an_export_into_a_pipe_or_through_a_link_replaces_neither() {
    let scene = filled();
    let stream = scene.ok(&["export", "cache"]);
    assert_eq!(scene.ok(&["export", "cache", "-o", "-"]), stream);
    assert!(!scene.path("-").exists());
    scene.fails(&["export", "cache", "-o", "-", "--json"], 2, "--json needs");

    let made = Command::new("mkfifo").arg(scene.path("pipe")).status();
    assert!(made.unwrap().success());
    let pipe = scene.path("pipe");
    let reader = std::thread::spawn(move || fs::read(pipe).unwrap());
    scene.ok(&["export", "cache", "-o", "pipe"]);
    assert_eq!(reader.join().unwrap(), stream);
    let kind = fs::symlink_metadata(scene.path("pipe"))
        .unwrap()
        .file_type();
    assert!(kind.is_fifo());

    fs::create_dir(scene.path("deep")).unwrap();
    for (link, target) in [("deep/link", "../all"), ("dangling", "deep/new")] {
        symlink(target, scene.path(link)).unwrap();
    }
    fs::write(scene.path("all"), "older").unwrap();
    for (link, file) in [("deep/link", "all"), ("dangling", "deep/new")] {
        scene.ok(&["export", "cache", "-o", link]);
        assert!(scene.path(link).is_symlink(), "{link}");
        assert_eq!(fs::read(scene.path(file)).unwrap(), stream, "{link}");
        assert!(!scene.path(file).is_symlink(), "{file}");
    }
    // It is a link to what stdout is: a pipe.
    symlink("/proc/self/fd/1", scene.path("out")).unwrap();
    let both = scene.ok(&["export", "cache", "-o", "out"]);
    assert!(both.starts_with(&stream) && scene.path("out").is_symlink());
    scene.fails(
        &["export", "cache", "-o", "deep"],
        1,
        "deep: Is a directory",
    );
}

#[test]
fn an_export_keeps_the_mode_and_respects_the_umask() {
    let scene = filled();
    let export = |umask: &str, name: &str| {
        let script = format!("umask {umask}; exec \"$0\" export cache -o {name}");
        let mut shell = Command::new("sh");
        shell.args(["-c", &script, env!("CARGO_BIN_EXE_perennial")]);
        let ended = shell.current_dir(scene.path(".")).output().unwrap();
        assert!(ended.status.success(), "{ended:?}");
    };
    export("027", "new");
    assert_eq!(mode(&scene, "new"), 0o640);
    fs::set_permissions(scene.path("new"), fs::Permissions::from_mode(0o604)).unwrap();
    export("077", "new");
    assert_eq!(mode(&scene, "new"), 0o604);
}
