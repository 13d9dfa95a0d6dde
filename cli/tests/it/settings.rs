//! create and config: where a setting comes from, and what is refused.

use std::fs;

use crate::support::{Ended, Scene, picture};

const FILE: &str = "home/.config/perennial/config.toml";

fn write_config(scene: &Scene, text: &str) {
    fs::create_dir_all(scene.path("home/.config/perennial")).unwrap();
    fs::write(scene.path(FILE), text).unwrap();
}

fn said(scene: &Scene, args: &[&str], name: &str) -> (String, String) {
    let all = [&["config", "show", "--json"], args].concat();
    let shown = scene.json(&all);
    let text = |part: &str| shown[name][part].as_str().unwrap().to_owned();
    (text("value"), text("from"))
}

#[test]
fn a_new_cache_is_as_large_as_was_said() {
    let scene = Scene::new();
    let made = scene.json(&[
        "create",
        "deep/cache",
        "--capacity",
        "6MiB",
        "--segment",
        "64KiB",
        "--tail",
        "256KiB",
        "--json",
    ]);
    assert_eq!(made["capacity_bytes"], 6 << 20);
    assert_eq!(
        (&made["segment_bytes"], &made["tail_bytes"]),
        (&65_536.into(), &262_144.into())
    );
    scene.ok(&["put", "deep/cache", "k", "v"]);
    let stat = scene.json(&["stat", "deep/cache", "--json"]);
    assert_eq!(stat["capacity_bytes"], 6 << 20);
    assert_eq!(
        (&stat["segment_bytes"], &stat["tail_bytes"]),
        (&65_536.into(), &262_144.into())
    );
}

#[test]
fn what_is_there_is_left_alone() {
    let scene = Scene::with_cache();
    let before = picture(&scene.path("cache"));
    scene.fails(
        &["create", "cache", "--capacity", "8MiB"],
        1,
        "holds a cache already",
    );
    assert_eq!(picture(&scene.path("cache")), before);
    fs::create_dir(scene.path("other")).unwrap();
    fs::write(scene.path("other/precious"), "precious").unwrap();
    scene.fails(&["create", "other"], 1, "something that is not a cache");
    assert_eq!(picture(&scene.path("other")).len(), 1);
    fs::create_dir(scene.path("empty")).unwrap();
    assert!(
        scene
            .text(&["create", "empty", "--capacity", "1MiB"])
            .contains("up to 1 MiB")
    );
}

#[test]
fn what_is_out_of_range_makes_nothing() {
    let scene = Scene::new();
    scene.fails(
        &["create", "cache", "--capacity", "1KiB"],
        2,
        "choose at least",
    );
    scene.fails(
        &["create", "cache", "--capacity", "5TiB"],
        2,
        "at most 4 TiB",
    );
    scene.fails(
        &["create", "cache", "--segment", "1000"],
        2,
        "8 KiB to 64 MiB",
    );
    scene.fails(&["create", "cache", "--pinned-percent", "36"], 2, "0 to 35");
    assert!(!scene.path("cache").exists());
    let ended = scene.run(&["create", "cache", "--capacity", "10MB"]);
    assert_eq!(ended.status, 2);
    assert!(
        ended.stderr.contains("KiB, MiB, GiB and TiB"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_flag_goes_before_the_environment_before_files_before_the_default() {
    let scene = Scene::with_cache();
    assert_eq!(
        said(&scene, &[], "capacity"),
        ("1GiB".into(), "default".into())
    );
    let own = format!("file {}", "cache/perennial.toml");
    assert_eq!(
        said(&scene, &["cache"], "capacity"),
        ("4MiB".into(), own.clone())
    );
    assert_eq!(
        said(&scene, &["cache"], "eviction"),
        ("s3-merge".into(), "default".into())
    );
    assert_eq!(
        said(&scene, &["cache"], "segment"),
        ("64KiB".into(), "the cache".into())
    );

    write_config(&scene, "capacity = \"3MiB\"\neviction = \"clock\"\n");
    let users = format!("file {}", scene.path(FILE).display());
    assert_eq!(
        said(&scene, &[], "capacity"),
        ("3MiB".into(), users.clone())
    );
    assert_eq!(said(&scene, &["cache"], "capacity"), ("4MiB".into(), own));
    assert_eq!(
        said(&scene, &["cache"], "eviction"),
        ("clock".into(), users)
    );
    fs::write(scene.path("mine.toml"), "eviction = \"fifo\"\n").unwrap();
    let mine = ["cache", "--config", "mine.toml"];
    assert_eq!(
        said(&scene, &mine, "eviction"),
        ("fifo".into(), "file mine.toml".into())
    );

    let environment = Ended::of(
        scene
            .command(&["config", "show", "cache", "--json", "--eviction", "fifo"])
            .env("PERENNIAL_CAPACITY", "16MiB")
            .env("PERENNIAL_EVICTION", "clock"),
    );
    let shown: serde_json::Value = serde_json::from_slice(&environment.stdout).unwrap();
    let part = |name: &str| format!("{} {}", shown[name]["value"], shown[name]["from"]);
    assert_eq!(part("capacity"), r#""16MiB" "environment""#);
    assert_eq!(part("eviction"), r#""fifo" "flag""#);
}

#[test]
fn what_config_show_says_is_what_counts() {
    let scene = Scene::new();
    write_config(
        &scene,
        "capacity = \"2MiB\"\nsegment = \"16KiB\"\ntail_dir = \"ring\"\n",
    );
    let made = scene.json(&["create", "cache", "--json"]);
    assert_eq!(
        (&made["capacity_bytes"], &made["segment_bytes"]),
        (&(2 << 20).into(), &16_384.into())
    );
    let ring = fs::canonicalize(scene.path("ring")).unwrap();
    assert_eq!(
        said(&scene, &["cache"], "tail_dir"),
        (ring.display().to_string(), "the cache".into())
    );
    let table = scene.text(&["config", "show", "cache"]);
    for part in ["setting", "capacity", "2MiB", "perennial.toml"] {
        assert!(table.contains(part), "{part}: {table}");
    }
}

#[test]
fn an_unknown_key_is_named_with_its_file() {
    let scene = Scene::with_cache();
    write_config(&scene, "capasity = \"3MiB\"\n");
    for args in [
        &["get", "cache", "k"][..],
        &["config", "show"],
        &["create", "new"],
    ] {
        scene.fails(args, 2, "config.toml, line 1: unknown field `capasity`");
    }
    assert!(!scene.path("new").exists());
    fs::remove_file(scene.path(FILE)).unwrap();
    fs::write(scene.path("cache/perennial.toml"), "\neviction = \"lru\"\n").unwrap();
    scene.fails(&["stat", "cache"], 2, "cache/perennial.toml, line 2");
    scene.fails(&["get", "cache", "k", "--config", "absent"], 2, "line 2");
    fs::remove_file(scene.path("cache/perennial.toml")).unwrap();
    scene.fails(
        &["get", "cache", "k", "--config", "absent"],
        10,
        "absent does not exist",
    );
}

#[test]
fn the_environment_names_the_file() {
    let scene = Scene::new();
    fs::write(scene.path("mine.toml"), "capacity = \"3MiB\"\n").unwrap();
    let mut command = scene.command(&["create", "cache", "--json"]);
    let ended = Ended::of(command.env("PERENNIAL_CONFIG", "mine.toml"));
    let made: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(made["capacity_bytes"], 3 << 20);
}

#[test]
fn an_environment_that_makes_no_sense_is_usage() {
    let scene = Scene::with_cache();
    let mut command = scene.command(&["get", "cache", "k"]);
    let ended = Ended::of(command.env("PERENNIAL_EVICTION", "lru"));
    assert_eq!(ended.status, 2);
    let said = &ended.stderr;
    assert!(
        said.contains("s3-merge") && said.contains("for 'PERENNIAL_EVICTION'"),
        "{said}"
    );
    // The flag's own mistake is the flag's.
    let mut command = scene.command(&["get", "cache", "k", "--eviction", "lru"]);
    let said = Ended::of(command.env("PERENNIAL_EVICTION", "lru")).stderr;
    assert!(said.contains("for '--eviction <POLICY>'"), "{said}");
}

#[test]
fn a_variable_that_is_empty_is_unset() {
    let scene = Scene::with_cache();
    let mut command = scene.command(&["create", "new", "--json"]);
    for name in [
        "CONFIG",
        "CAPACITY",
        "EVICTION",
        "PINNED_PERCENT",
        "COMPRESSION",
    ] {
        command.env(format!("PERENNIAL_{name}"), "");
    }
    for name in ["SEGMENT", "TAIL", "TAIL_DIR"] {
        command.env(format!("PERENNIAL_{name}"), "");
    }
    let ended = Ended::of(&mut command);
    assert_eq!((ended.status, ended.stderr.as_str()), (0, ""));
    let made: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(made["capacity_bytes"], 1 << 30);
}

#[test]
fn a_number_that_makes_no_sense_is_said_so() {
    let scene = Scene::with_cache();
    for (args, part) in [
        (
            &["get", "cache", "k", "--capacity", "-1"][..],
            "a size starts with a whole number",
        ),
        (
            &["get", "cache", "k", "--capacity", "-5MiB"],
            "a size starts with a whole number",
        ),
        (
            &["resize", "cache", "-1"],
            "a size starts with a whole number",
        ),
        (
            &["resize", "cache", "1.5GiB"],
            "such as 1536MiB for 1.5 GiB",
        ),
        (
            &["get", "cache", "k", "--pinned-percent", "-1"],
            "-1 is not in 0..=255",
        ),
        (
            &["put", "cache", "k", "v", "--ttl", "-1s"],
            "a time starts with a whole number",
        ),
    ] {
        let ended = scene.run(args);
        assert_eq!(ended.status, 2, "{args:?}");
        let said = &ended.stderr;
        assert!(
            said.contains(part) && !said.contains("tip:"),
            "{args:?}: {said}"
        );
    }
}

#[test]
fn a_home_that_is_a_file_has_no_settings() {
    let scene = Scene::with_cache();
    fs::write(scene.path("file"), "").unwrap();
    for name in ["HOME", "XDG_CONFIG_HOME"] {
        let mut command = scene.command(&["put", "cache", "k", "v"]);
        let ended = Ended::of(command.env(name, scene.path("file")));
        assert_eq!((ended.status, ended.stderr.as_str()), (0, ""), "{name}");
    }
    let named = ["get", "cache", "k", "--config", "file/below"];
    scene.fails(&named, 10, "file/below does not exist");
}

#[test]
fn settings_are_utf_8() {
    let scene = Scene::with_cache();
    fs::write(scene.path("mine.toml"), b"# one\n# \xff\n").unwrap();
    let args = ["get", "cache", "k", "--config", "mine.toml"];
    scene.fails(&args, 2, "mine.toml, line 2: this is no UTF-8");
}

fn names(scene: &Scene, dir: &str) -> Vec<String> {
    let all = fs::read_dir(scene.path(dir)).unwrap();
    let name = |file: std::io::Result<fs::DirEntry>| file.unwrap().file_name();
    all.map(|file| name(file).into_string().unwrap()).collect()
}

/// Its traces are those of a kill before the cache, before its first segment, and before its close.
#[test]
fn a_create_that_was_killed_can_be_repeated() {
    let scene = Scene::with_cache();
    let create = |dir: &str| scene.json(&["create", dir, "--capacity", "8MiB", "--json"]);
    let own = fs::read(scene.path("cache/perennial.toml")).unwrap();
    for name in ["perennial.toml", "perennial.toml.tmp"] {
        let dir = format!("with-{name}");
        fs::create_dir(scene.path(&dir)).unwrap();
        fs::write(scene.path(&dir).join(name), &own).unwrap();
        scene.fails(&["get", &dir, "k"], 10, "holds no cache; make one with");
        assert_eq!(create(&dir)["capacity_bytes"], 8 << 20);
        scene.fails(&["create", &dir], 1, "holds a cache already");
    }

    for name in names(&scene, "cache") {
        if name != "identity" && name != "LOCK" {
            fs::remove_file(scene.path("cache").join(name)).unwrap();
        }
    }
    assert_eq!(create("cache")["capacity_bytes"], 8 << 20);
    let capacity = scene.json(&["stat", "cache", "--json"])["capacity_bytes"].clone();
    assert_eq!(capacity, 8 << 20);
    scene.fails(&["create", "cache"], 1, "holds a cache already");
}

#[test]
fn settings_of_somebody_are_not_replaced_by_a_create() {
    let scene = Scene::new();
    fs::create_dir(scene.path("cache")).unwrap();
    fs::write(scene.path("cache/perennial.toml"), "capacity = \"2MiB\"\n").unwrap();
    let before = picture(&scene.path("cache"));
    scene.fails(&["create", "cache"], 1, "something that is not a cache");
    assert_eq!(picture(&scene.path("cache")), before);
}

#[test]
fn a_create_that_fails_leaves_nothing() {
    let scene = Scene::new();
    fs::write(scene.path("file"), "").unwrap();
    fs::create_dir(scene.path("empty")).unwrap();
    for (args, status, part) in [
        (["--tail-dir", "file"], 1, "file: not a directory"),
        (["--tail-dir", "file/ring"], 1, "file/ring: "),
        (["--tail", "1000"], 2, "4 KiB to 1 GiB"),
    ] {
        for cache in ["a/deep/cache", "empty"] {
            let tail = ["--capacity", "4MiB", "--tail-dir", "ring/deep"];
            let more = if args[0] == "--tail" { &tail[..] } else { &[] };
            let all = [&["create", cache][..], &args[..], more].concat();
            scene.fails(&all, status, part);
            for gone in ["a", "ring"] {
                assert!(!scene.path(gone).exists(), "{all:?}");
            }
            assert!(names(&scene, "empty").is_empty(), "{all:?}");
        }
    }
}

/// Which flag, variable or file it was, and in which unit.
#[test]
fn what_is_refused_has_the_name_it_was_said_by() {
    let scene = Scene::new();
    let large = ["create", "cache", "--capacity", "5TiB"];
    scene.fails(&large, 2, "--capacity is 5TiB; choose at most 4 TiB");
    let mut command = scene.command(&["create", "cache"]);
    let ended = Ended::of(command.env("PERENNIAL_CAPACITY", "1001"));
    ended.failed(2, "PERENNIAL_CAPACITY is 1001 bytes; ");
    ended.failed(2, " bytes\n");
    write_config(&scene, "capacity = \"4MiB\"\ntail = \"3MiB\"\n");
    let part = format!(
        "tail in {} is 3MiB, more than half",
        scene.path(FILE).display()
    );
    scene.fails(&["create", "cache"], 2, &part);
    write_config(&scene, "");

    let small = ["create", "cache", "--capacity", "1MiB", "--tail", "4KiB"];
    scene.ok(&small);
    let put = ["put", "cache", "k", "v", "--capacity", "1GiB"];
    scene.fails(
        &put,
        2,
        "--capacity is 1GiB, too much for this cache's tail of 4KiB; choose at most 256MiB",
    );
    scene.fails(
        &["resize", "cache", "1GiB"],
        2,
        "SIZE is 1GiB, too much for",
    );
    let pinned = ["put", "cache", "k", "v", "--pinned-percent", "36"];
    scene.fails(&pinned, 2, "--pinned-percent is 36; choose from 0 to 35");
}
