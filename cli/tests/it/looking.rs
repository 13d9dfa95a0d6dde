//! stat, inspect, verify, checkpoint, resize.

use perennial::{Cache, Options};

use crate::support::{Ended, Scene, damage, picture};

fn number(value: &serde_json::Value) -> u64 {
    value.as_u64().unwrap()
}

#[test]
fn stat_and_inspect_agree() {
    let scene = Scene::with_cache();
    scene.ok(&["put", "cache", "k", "value"]);
    scene.ok(&["checkpoint", "cache"]);
    let stat = scene.json(&["stat", "cache", "--json"]);
    let inspect = scene.json(&["inspect", "cache", "--json"]);
    assert_eq!(stat["cache_id"], inspect["cache_id"]);
    assert_eq!(stat["capacity_bytes"], 4 << 20);
    assert_eq!(
        (
            &stat["checkpoint_entries"],
            &inspect["checkpoint"]["entries"]
        ),
        (&1.into(), &1.into())
    );
    let segments = inspect["segments"].as_array().unwrap();
    let frames = segments.iter().map(|segment| number(&segment["frames"]));
    assert_eq!(number(&stat["frames"]), frames.sum::<u64>());
    let states = stat["segments"].as_object().unwrap();
    assert_eq!(
        states.values().map(number).sum::<u64>(),
        segments.len() as u64
    );
    assert!(scene.text(&["stat", "cache"]).contains("of 4 MiB"));
    assert!(scene.text(&["inspect", "cache"]).contains("seg-000001"));
}

#[test]
fn inspect_shows_one_segment() {
    let scene = Scene::with_cache();
    let one = scene.json(&["inspect", "cache", "--segment", "1", "--json"]);
    assert_eq!(one["segments"].as_array().unwrap().len(), 1);
    assert_eq!(one["segments"][0]["number"], 1);
    scene.fails(
        &["inspect", "cache", "--segment", "999"],
        10,
        "no segment 999",
    );
}

/// They work while another process has the cache open, and change nothing.
#[test]
fn looking_needs_no_lock_and_changes_nothing() {
    let scene = Scene::with_cache();
    let open = Cache::open(scene.path("cache"), Options::new().capacity_bytes(4 << 20)).unwrap();
    open.insert(b"k", b"v").unwrap();
    let before = picture(&scene.path("cache"));
    for command in ["stat", "inspect"] {
        scene.ok(&[command, "cache"]);
        scene.json(&[command, "cache", "--json"]);
    }
    assert_eq!(scene.ok(&["get", "cache", "k"]), b"v");
    assert_eq!(scene.text(&["keys", "cache"]), "k\n");
    assert_eq!(scene.json(&["warm", "cache", "--json"])["entries"], 1);
    scene.ok(&["export", "cache", "--output", "exported"]);
    assert_eq!(picture(&scene.path("cache")), before);
    open.remove(b"k").unwrap();
    scene.fails(&["get", "cache", "k"], 10, "not in the cache");
    scene.fails(&["verify", "cache"], 11, "open in another process");
    open.close().unwrap();
    let before = picture(&scene.path("cache"));
    scene.ok(&["verify", "cache"]);
    assert_eq!(picture(&scene.path("cache")), before);
}

#[test]
fn stat_watches_a_cache_that_is_open() {
    let scene = Scene::with_cache();
    let open = Cache::open(scene.path("cache"), Options::new().capacity_bytes(4 << 20)).unwrap();
    let rounds = [
        "stat", "cache", "--watch", "--every", "1ms", "--rounds", "3",
    ];
    let lines = scene.text(&rounds);
    assert_eq!(lines.lines().count(), 3, "{lines}");
    let (first, others) = lines.split_once('\n').unwrap();
    assert!(!first.contains("/s") && others.matches("/s; ").count() == 2);
    open.insert(b"k", vec![7; 5000]).unwrap();
    open.flush().unwrap();
    let documents = scene.text(&[&rounds[..], &["--json"]].concat());
    let documents: Vec<serde_json::Value> = documents
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(documents.len(), 3);
    assert!(number(&documents[0]["stable"]) > 5000);
    assert!(documents[0]["logged_bytes_per_s"].is_null());
    assert!(documents[2]["logged_bytes_per_s"].is_u64());
    for args in [["--every", "0s"], ["--rounds", "0"], ["--every", "1"]] {
        let ended = scene.run(&[&["stat", "cache", "--watch"][..], &args].concat());
        assert_eq!(ended.status, 2, "{args:?}");
    }
    assert_eq!(scene.run(&["stat", "cache", "--rounds", "3"]).status, 2);
    open.close().unwrap();
}

#[test]
fn verify_finds_a_flipped_bit() {
    let scene = Scene::with_cache();
    let value = "w".repeat(9000);
    scene.ok(&["put", "cache", "k", &value]);
    let sound = scene.json(&["verify", "cache", "--json"]);
    assert_eq!(
        (
            number(&sound["live_entries"]),
            sound["problems"].as_array().unwrap().len()
        ),
        (1, 0)
    );
    assert!(scene.text(&["verify", "cache"]).contains("no damage"));

    damage(&scene.path("cache"), value.as_bytes());
    let found = scene.run(&["verify", "cache"]);
    assert_eq!((found.status, found.stderr.as_str()), (3, ""));
    let text = String::from_utf8(found.stdout).unwrap();
    assert!(
        text.starts_with("damage: ") && text.contains("1 problem"),
        "{text}"
    );
    let found = scene.run(&["verify", "cache", "--json"]);
    let document: serde_json::Value = serde_json::from_slice(&found.stdout).unwrap();
    assert_eq!(
        (found.status, document["problems"].as_array().unwrap().len()),
        (3, 1)
    );
}

#[test]
fn a_checkpoint_has_all_entries() {
    let scene = Scene::with_cache();
    for key in ["a", "b", "c"] {
        scene.ok(&["put", "cache", key, "v"]);
    }
    let written = scene.json(&["checkpoint", "cache", "--json"]);
    assert_eq!(written["entries"], 3);
    assert!(number(&written["checkpoint_bytes"]) > 0);
    let stat = scene.json(&["stat", "cache", "--json"]);
    assert_eq!(stat["checkpoint_entries"], 3);
    assert!(scene.text(&["checkpoint", "cache"]).contains("3 entries"));
}

fn fill(scene: &Scene, capacity_bytes: u64) -> u64 {
    let options = Options::new().capacity_bytes(capacity_bytes);
    let cache = Cache::open(scene.path("cache"), options).unwrap();
    for n in 0..1000_u32 {
        cache.insert(n.to_le_bytes(), vec![7; 8000]).unwrap();
    }
    let entries = cache.stats().entries;
    cache.close().unwrap();
    entries
}

#[test]
fn a_smaller_cache_stays_smaller_and_a_larger_one_larger() {
    let scene = Scene::with_cache();
    let entries = fill(&scene, 4 << 20);
    let smaller = scene.json(&["resize", "cache", "2MiB", "--json"]);
    assert!(number(&smaller["evicted"]) > 0);
    assert!(number(&smaller["file_bytes"]) <= 2 << 20);
    let left = scene.text(&["keys", "cache"]).lines().count() as u64;
    assert_eq!(left, number(&smaller["entries"]));
    assert!(left < entries);
    assert_eq!(
        scene.json(&["stat", "cache", "--json"])["capacity_bytes"],
        2 << 20
    );

    assert!(
        scene
            .text(&["resize", "cache", "8MiB"])
            .contains("up to 8 MiB now")
    );
    assert_eq!(scene.text(&["keys", "cache"]).lines().count() as u64, left);
    assert_eq!(
        scene.json(&["stat", "cache", "--json"])["capacity_bytes"],
        8 << 20
    );
    scene.fails(&["resize", "cache", "100KiB"], 2, "choose at least");
    scene.fails(&["resize", "cache", "5TiB"], 2, "choose at most 32GiB");
    assert_eq!(
        scene.json(&["stat", "cache", "--json"])["capacity_bytes"],
        8 << 20
    );
}

/// A program made it, with a capacity that no file tells: the default of the command would drop most of it.
#[test]
fn a_program_s_cache_is_not_made_smaller() {
    let scene = Scene::new();
    let entries = fill(&scene, 12 << 20);
    for _ in 0..3 {
        scene.ok(&["put", "cache", "k", "v"]);
    }
    let options = ["put", "cache", "k", "v", "--capacity", "1MiB"];
    let raised = scene.run(&options);
    assert_eq!(raised.status, 0);
    assert!(
        raised.stderr.contains("which is raised"),
        "{}",
        raised.stderr
    );
    let keys = scene.text(&["keys", "cache"]).lines().count() as u64;
    assert_eq!(keys, entries + 1);
    let capacity = || number(&scene.json(&["stat", "cache", "--json"])["capacity_bytes"]);
    assert!((8 << 20..=12 << 20).contains(&capacity()), "{}", capacity());
    scene.ok(&["resize", "cache", "16MiB"]);
    assert_eq!(capacity(), 16 << 20);
}

/// As its program made it: elsewhere, and of that size. Otherwise each command would move it.
#[test]
fn the_tail_stays_where_it_is() {
    let scene = Scene::new();
    let options = Options::new().capacity_bytes(8 << 20).tail_bytes(256 << 10);
    let options = options.tail_dir(scene.path("elsewhere"));
    Cache::open(scene.path("cache"), options)
        .unwrap()
        .close()
        .unwrap();
    let before = scene.json(&["inspect", "cache", "--json"])["tail"].clone();
    scene.ok(&["put", "cache", "k", "v"]);
    assert_eq!(scene.ok(&["get", "cache", "k"]), b"v");
    let after = scene.json(&["inspect", "cache", "--json"])["tail"].clone();
    for part in ["mapped", "path", "ring_bytes"] {
        assert_eq!(before[part], after[part]);
    }
    assert_eq!(after["ring_bytes"], 256 << 10);
}

/// However the file names its capacity, and whatever stands beside it.
#[test]
fn a_resize_changes_its_line_and_nothing_else() {
    let scene = Scene::with_cache();
    let own = scene.path("cache/perennial.toml");
    std::fs::write(
        &own,
        "# mine\n\"capacity\" = '4MiB' # was less\neviction = 'fifo'\n",
    )
    .unwrap();
    scene.ok(&["resize", "cache", "8MiB"]);
    let text = std::fs::read_to_string(&own).unwrap();
    let expected = "# mine\n\"capacity\" = \"8MiB\" # was less\neviction = 'fifo'\n";
    assert_eq!(text, expected);
    assert_eq!(
        scene.json(&["stat", "cache", "--json"])["capacity_bytes"],
        8 << 20
    );
}

#[test]
fn a_file_that_makes_no_sense_is_said_before_a_resize() {
    let scene = Scene::with_cache();
    fill(&scene, 4 << 20);
    let own = scene.path("cache/perennial.toml");
    std::fs::write(&own, "capacity = \"4MiB\"\n\"capacity\" = \"4MiB\"\n").unwrap();
    let before = picture(&scene.path("cache"));
    scene.fails(&["resize", "cache", "2MiB"], 2, "perennial.toml, line 2: ");
    assert_eq!(picture(&scene.path("cache")), before);
}

/// In a user namespace of its own, where that is allowed; else there is no such file system to be had.
#[test]
fn a_file_system_that_is_read_only_is_read_and_verified() {
    let scene = Scene::with_cache();
    scene.ok(&["put", "cache", "k", "v"]);
    let before = picture(&scene.path("cache"));
    let script =
        "mount --bind cache cache && mount -o remount,ro,bind cache || exit 99; exec \"$@\"";
    let run = |args: &[&str]| {
        let mut unshare = assert_cmd::Command::new("unshare");
        unshare.args(["-rm", "sh", "-c", script, "sh"]);
        unshare.arg(env!("CARGO_BIN_EXE_perennial")).args(args);
        Ended::of(unshare.current_dir(scene.path(".")))
    };
    let mut can = std::process::Command::new("unshare");
    can.args(["-rm", "mount", "--bind", "/proc", "/proc"]);
    if !can.status().is_ok_and(|status| status.success()) {
        eprintln!("no user namespaces here: nothing was tested");
        return;
    }
    let verified = run(&["verify", "cache"]);
    assert_eq!((verified.status, verified.stderr.as_str()), (0, ""));
    for command in ["stat", "inspect"] {
        assert_eq!(run(&[command, "cache"]).status, 0);
    }
    let reads = [
        &["get", "cache", "k"][..],
        &["keys", "cache"],
        &["export", "cache"],
        &["warm", "cache"],
    ];
    for args in reads {
        let ended = run(args);
        assert_eq!((ended.status, ended.stderr.as_str()), (0, ""), "{args:?}");
    }
    for args in [&["put", "cache", "k", "w"][..], &["checkpoint", "cache"]] {
        run(args).failed(1, "read-only, and this command writes");
    }
    assert_eq!(picture(&scene.path("cache")), before);
}
