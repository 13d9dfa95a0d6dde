//! What holds for every command, whatever it does.

use std::fs;

use perennial::{Cache, Options};

use crate::support::{Ended, Scene, picture};

/// Each command that works on a cache, with arguments that are right.
const ON_A_CACHE: &[&[&str]] = &[
    &["get", "DIR", "k"],
    &["put", "DIR", "k", "v"],
    &["del", "DIR", "k"],
    &["keys", "DIR"],
    &["stat", "DIR"],
    &["inspect", "DIR"],
    &["verify", "DIR"],
    &["repair", "DIR"],
    &["checkpoint", "DIR"],
    &["resize", "DIR", "4MiB"],
    &["warm", "DIR"],
    &["export", "DIR", "--output", "exported"],
    &["import", "DIR", "stream"],
    &["config", "show", "DIR"],
];

/// Those that only look, and need no lock; the key that one asks for is put there first.
const LOOK: &[&str] = &["get", "keys", "stat", "inspect", "warm", "export", "config"];

const OTHERS: &[&[&str]] = &[
    &["create", "DIR"],
    &["bench", "DIR"],
    &["demo"],
    &["completions", "bash"],
];

fn at<'a>(args: &[&'a str], dir: &'a str) -> Vec<&'a str> {
    let there = |arg: &&'a str| if *arg == "DIR" { dir } else { *arg };
    args.iter().map(there).collect()
}

/// The words before the first argument.
fn name<'a>(args: &[&'a str]) -> Vec<&'a str> {
    let words = if args[0] == "config" { 2 } else { 1 };
    args[..words].to_vec()
}

fn all() -> impl Iterator<Item = &'static &'static [&'static str]> {
    ON_A_CACHE.iter().chain(OTHERS)
}

#[test]
fn the_list_is_complete() {
    let scene = Scene::new();
    let help = scene.text(&["--help"]);
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let commands = commands.lines().take_while(|line| !line.is_empty());
    let mut listed: Vec<_> = commands
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    listed.retain(|name| *name != "help");
    listed.sort_unstable();
    let mut here: Vec<_> = all().map(|args| args[0]).collect();
    here.sort_unstable();
    assert_eq!(listed, here);
}

#[test]
fn each_is_documented() {
    let text = include_str!("../../../docs/command.md");
    for args in all() {
        let name = format!("`{}", name(args).join(" "));
        assert!(text.contains(&name), "{name}");
    }
}

#[test]
fn each_has_help() {
    let scene = Scene::new();
    for args in all() {
        let help = [name(args), vec!["--help"]].concat();
        let text = scene.text(&help);
        assert!(text.contains("Usage: perennial"), "{help:?}: {text}");
        let short = [name(args), vec!["-h"]].concat();
        assert!(scene.text(&short).contains("Usage: perennial"), "{short:?}");
    }
}

#[test]
fn wrong_arguments_are_2() {
    let scene = Scene::with_cache();
    for args in all() {
        for more in [&["--no-such-flag"][..], &["a", "b", "c", "d", "e"]] {
            if args[0] == "del" && more.len() > 1 {
                continue;
            }
            let wrong = [&at(args, "cache"), more].concat();
            let ended = scene.run(&wrong);
            assert_eq!(ended.status, 2, "{wrong:?}: {}", ended.stderr);
            assert!(
                ended.stdout.is_empty() && ended.stderr.contains("Usage: "),
                "{wrong:?}"
            );
        }
        if args.contains(&"DIR") && args[0] != "config" {
            assert_eq!(
                scene.run(&name(args)).status,
                2,
                "{args:?} without arguments"
            );
        }
    }
}

#[test]
fn a_directory_that_is_not_there_is_10_and_is_not_made() {
    let scene = Scene::new();
    for args in ON_A_CACHE {
        let part = "absent does not exist; make a cache there with `perennial create absent`";
        scene.fails(&at(args, "absent"), 10, part);
        assert!(!scene.path("absent").exists(), "{args:?}");
    }
}

#[test]
fn an_empty_directory_is_10_and_stays_empty() {
    let scene = Scene::new();
    fs::create_dir(scene.path("empty")).unwrap();
    for args in ON_A_CACHE {
        scene.fails(
            &at(args, "empty"),
            10,
            "make one with `perennial create empty`",
        );
        assert_eq!(picture(&scene.path("empty")), [], "{args:?}");
    }
}

#[test]
fn a_directory_of_something_else_is_1_and_stays_as_it_is() {
    let scene = Scene::new();
    fs::create_dir(scene.path("other")).unwrap();
    fs::write(scene.path("other/precious"), "precious").unwrap();
    fs::write(scene.path("file"), "precious").unwrap();
    fs::create_dir_all(scene.path("deep/below")).unwrap();
    let before = picture(&scene.path("other"));
    for args in ON_A_CACHE.iter().chain(&[&["create", "DIR"][..]]) {
        scene.fails(&at(args, "other"), 1, "something that is not a cache");
        scene.fails(&at(args, "deep"), 1, "something that is not a cache");
        scene.fails(&at(args, "file"), 1, "file is not a directory");
        assert_eq!(picture(&scene.path("other")), before, "{args:?}");
    }
}

#[test]
fn a_cache_that_is_open_elsewhere_is_11() {
    let scene = Scene::with_cache();
    let open = Cache::open(scene.path("cache"), Options::new().capacity_bytes(4 << 20)).unwrap();
    open.insert("k", "v").unwrap();
    for args in ON_A_CACHE {
        let args = at(args, "cache");
        if LOOK.contains(&args[0]) {
            scene.ok(&args);
        } else {
            scene.fails(&args, 11, "open in another process");
        }
    }
    open.close().unwrap();
}

#[test]
fn a_damaged_identity_is_3() {
    let scene = Scene::with_cache();
    let path = scene.path("cache/identity");
    let mut identity = fs::read(&path).unwrap();
    identity.iter_mut().for_each(|byte| *byte ^= 0xff);
    fs::write(&path, &identity).unwrap();
    let before = picture(&scene.path("cache"));
    for args in ON_A_CACHE.iter().chain(&[&["create", "DIR"][..]]) {
        scene.fails(&at(args, "cache"), 3, "identity");
    }
    fs::remove_file(&path).unwrap();
    for args in ON_A_CACHE.iter().chain(&[&["create", "DIR"][..]]) {
        scene.fails(&at(args, "cache"), 3, "restore the file `identity`");
    }
    assert_eq!(picture(&scene.path("cache")).len(), before.len() - 1);
}

/// A home that is not there at all, and one that is the empty string.
#[test]
fn no_home_is_needed() {
    let scene = Scene::with_cache();
    scene.ok(&["put", "cache", "k", "v"]);
    for args in ON_A_CACHE {
        for home in [None, Some("")] {
            let mut command = scene.command(&at(args, "cache"));
            command.env_remove("HOME");
            if let Some(home) = home {
                command.env("HOME", home);
            }
            let ended = Ended::of(&mut command);
            assert_eq!(ended.stderr, "", "{args:?}");
            scene.ok(&["put", "cache", "k", "v"]);
        }
    }
    assert_eq!(picture(&scene.path("home")), []);
}

#[test]
fn colour_is_forced_and_forbidden() {
    let scene = Scene::new();
    let escapes = |no_color: bool| {
        let mut command = scene.command(&["get", "--no-such-flag"]);
        command.env("CLICOLOR_FORCE", "1");
        if no_color {
            command.env("NO_COLOR", "1");
        }
        Ended::of(&mut command).stderr.contains('\x1b')
    };
    assert!(escapes(false), "the test can tell");
    assert!(!escapes(true));
}

#[test]
fn logs_go_to_stderr_and_are_asked_for() {
    let scene = Scene::with_cache();
    let quiet = scene.run(&["put", "cache", "k", "v", "-q"]);
    assert_eq!((quiet.status, quiet.stderr.as_str()), (0, ""));
    let loud = scene.run(&["get", "cache", "k", "-vv"]);
    assert_eq!((loud.status, loud.stdout.as_slice()), (0, &b"v"[..]));
    assert!(loud.stderr.contains("INFO"), "{}", loud.stderr);
}

#[test]
fn completions_are_for_every_shell() {
    let scene = Scene::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = scene.text(&["completions", shell]);
        assert!(
            script.contains("checkpoint") && script.contains("pinned-percent"),
            "{shell}"
        );
        assert!(!script.contains("demo-child"), "{shell}");
    }
}
