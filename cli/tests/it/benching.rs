//! bench.

use std::fs;

use crate::support::{Scene, picture};

const SMALL: [&str; 6] = ["bench", "place", "--bytes", "1MiB", "--threads", "3"];

fn scene() -> Scene {
    let scene = Scene::new();
    fs::create_dir(scene.path("place")).unwrap();
    fs::write(scene.path("place/precious"), "precious").unwrap();
    scene
}

#[test]
fn each_phase_is_counted_and_checked() {
    let scene = scene();
    let report = scene.json(&[&SMALL[..], &["--json"]].concat());
    assert_eq!(
        (&report["keys"], &report["threads"]),
        (&256.into(), &3.into())
    );
    let phases = report["phases"].as_array().unwrap();
    let names: Vec<_> = phases
        .iter()
        .map(|phase| phase["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["fill", "read", "mixed"]);
    for phase in phases {
        assert_eq!(
            (&phase["operations"], &phase["wrong"]),
            (&256.into(), &0.into())
        );
        assert_eq!(phase["misses"], 0);
        let number = |name: &str| phase[name].as_f64().unwrap();
        assert!(number("operations_per_second") > 0.0 && number("mib_per_second") > 0.0);
        assert!(number("p50_us") <= number("p99_us") && number("p99_us") <= number("max_us"));
    }
    let hits = |n: usize| phases[n]["hits"].as_u64().unwrap();
    assert_eq!((hits(0), hits(1)), (0, 256));
    assert!((180..256).contains(&hits(2)), "nine of ten: {}", hits(2));
    let again = scene.json(&[&SMALL[..], &["--json"]].concat());
    assert_eq!(again["phases"][2]["hits"], hits(2), "the seed is the same");
}

#[test]
fn nothing_is_touched_and_nothing_is_left() {
    let scene = scene();
    let before = picture(&scene.path("place"));
    let table = scene.text(&SMALL);
    assert!(
        table.contains("256 keys") && table.contains("mixed"),
        "{table}"
    );
    assert_eq!(picture(&scene.path("place")), before);
    scene.ok(&["create", "cache", "--capacity", "4MiB"]);
    let before = picture(&scene.path("cache"));
    scene.fails(
        &["bench", "cache"],
        1,
        "name another directory on that device",
    );
    assert_eq!(picture(&scene.path("cache")), before);
    scene.fails(&["bench", "absent"], 10, "absent does not exist");
}

/// What is too large for it is evicted, and the reads of that are misses: none is wrong.
#[test]
fn a_cache_that_is_too_small_misses() {
    let scene = scene();
    let small = ["--capacity", "512KiB", "--json", "-q"];
    let report = scene.json(&[&SMALL[..], &small].concat());
    let read = &report["phases"][1];
    let count = |name: &str| read[name].as_u64().unwrap();
    assert!(count("misses") > 0 && count("hits") > 0, "{read}");
    assert_eq!((count("hits") + count("misses"), count("wrong")), (256, 0));
}

#[test]
fn what_is_out_of_range_is_usage_and_leaves_nothing() {
    let scene = scene();
    for wrong in [
        ["--value", "15"],
        ["--value", "65MiB"],
        ["--threads", "0"],
        ["--bytes", "0"],
    ] {
        let ended = scene.run(&[&["bench", "place"][..], &wrong].concat());
        assert_eq!(ended.status, 2, "{wrong:?}: {}", ended.stderr);
    }
    scene.fails(
        &["bench", "place", "--capacity", "1KiB"],
        2,
        "choose at least",
    );
    let large = [
        "bench",
        "place",
        "--bytes",
        "4MiB",
        "--value",
        "1MiB",
        "--capacity",
        "16MiB",
    ];
    scene.fails(&large, 2, "does not fit in a segment");
    assert_eq!(picture(&scene.path("place")).len(), 1);
}
