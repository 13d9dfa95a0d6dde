//! inspect --html: what is in the page, and where it goes.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use perennial::{Cache, Options};
use serde_json::Value;

use crate::support::{Scene, picture};

const PAGE: [&str; 4] = ["inspect", "cache", "--html", "page.html"];

fn page(scene: &Scene) -> String {
    scene.ok(&PAGE);
    fs::read_to_string(scene.path("page.html")).unwrap()
}

fn options() -> Options {
    Options::new()
        .capacity_bytes(4 << 20)
        .segment_bytes(256 << 10)
}

#[test]
fn a_page_has_every_segment_and_needs_nothing_from_elsewhere() {
    let scene = Scene::new();
    let cache = Cache::open(scene.path("cache"), options()).unwrap();
    for n in 0..900 {
        cache
            .insert(
                format!("top-secret-key-{n}"),
                b"top-secret-value".repeat(400),
            )
            .unwrap();
        cache.get(format!("top-secret-key-{}", n / 2)).unwrap();
    }
    cache.remove("top-secret-key-899").unwrap();
    cache.close().unwrap();
    let before = picture(&scene.path("cache"));
    let said = scene.text(&PAGE);
    let page = fs::read_to_string(scene.path("page.html")).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    for word in [
        "http:", "https:", "src=", "href=", "url(", "<script", "@import",
    ] {
        assert!(!page.contains(word), "{word}");
    }
    assert!(!page.contains("top-secret"));
    let inspection = scene.json(&["inspect", "cache", "--json"]);
    for segment in inspection["segments"].as_array().unwrap() {
        let (number, slot) = (&segment["number"], &segment["slot"]);
        let state = segment["state"].as_str().unwrap();
        let cell = match number.as_u64().unwrap() {
            0 => format!("<title>slot {slot}, {state}"),
            number => format!("<title>segment {number}, slot {slot}, {state}"),
        };
        assert_eq!(page.matches(&cell).count(), 1, "{cell}");
    }
    for class in ["read", "live", "dead", "own"] {
        assert!(page.contains(&format!("class=\"{class}\"/>")), "{class}");
    }
    for chart in [
        "Live bytes by age",
        "Live entries by size",
        "The log, as an open",
    ] {
        assert!(page.contains(chart), "{chart}");
    }
    assert!(!page.contains("NaN") && !page.contains("inf\""), "{page}");
    let keys = scene.text(&["keys", "cache"]).lines().count();
    assert!(said.contains(&format!(" {keys} entries, ")), "{said}");
    assert_eq!(picture(&scene.path("cache")), before);
}

/// Nothing on disk says how often something was found, so nothing is made up.
#[test]
fn without_statistics_there_is_nothing_over_time() {
    let scene = Scene::with_cache();
    let page = page(&scene);
    assert!(page.contains("--stats FILE") && !page.contains("Hits of all lookups"));
}

#[test]
fn statistics_are_drawn() {
    let scene = Scene::new();
    let mut lines = String::new();
    for _ in 0..2 {
        let cache = Cache::open(scene.path("cache"), options()).unwrap();
        for n in 0..20_u8 {
            cache.insert([n], [n; 100]).unwrap();
            cache.get([n / 2]).unwrap();
            cache.get([n, n]).unwrap();
            let stats: Value = serde_json::to_value(cache.stats()).unwrap();
            lines += &format!("{stats}\n");
        }
        cache.close().unwrap();
    }
    fs::write(scene.path("stats"), &lines).unwrap();
    scene.ok(&[&PAGE[..], &["--stats", "stats"]].concat());
    let page = fs::read_to_string(scene.path("page.html")).unwrap();
    // A run for each life.
    assert_eq!(page.matches("<polyline").count(), 2);
    assert!(page.contains("Hits of all lookups") && page.contains("How long opens took"));

    let watch = [
        "stat", "cache", "--watch", "--every", "1ms", "--rounds", "3", "--json",
    ];
    fs::write(scene.path("watched"), scene.ok(&watch)).unwrap();
    scene.ok(&[&PAGE[..], &["--stats", "watched"]].concat());
    let page = fs::read_to_string(scene.path("page.html")).unwrap();
    assert!(page.contains("How fast the log grew") && !page.contains("Hits of all lookups"));

    fs::write(scene.path("stats"), "{\"misses\":1}\n").unwrap();
    let args = |file| [&PAGE[..], &["--stats", file]].concat();
    scene.fails(
        &args("stats"),
        1,
        "stats, line 1: no hits and misses; give it",
    );
    scene.fails(&args("absent"), 10, "absent does not exist");
}

#[test]
fn a_page_replaces_a_page_and_nothing_else() {
    let scene = Scene::with_cache();
    page(&scene);
    scene.ok(&["put", "cache", "k", "v"]);
    assert!(page(&scene).contains("<tr><th>entries</th><td>1</td></tr>"));
    let files = fs::read_dir(scene.path(".")).unwrap().count();

    fs::write(scene.path("mine"), "mine").unwrap();
    fs::write(scene.path("empty"), "").unwrap();
    symlink("page.html", scene.path("link")).unwrap();
    symlink("nowhere", scene.path("dangling")).unwrap();
    let socket = UnixListener::bind(scene.path("socket")).unwrap();
    for name in [
        "mine", "empty", "link", "dangling", "socket", "home", "cache",
    ] {
        let args = ["inspect", "cache", "--html", name];
        scene.fails(&args, 1, "is no page of `perennial inspect`");
    }
    drop(socket);
    assert_eq!(fs::read(scene.path("mine")).unwrap(), b"mine");
    assert!(!scene.path("nowhere").exists());
    assert_eq!(fs::read_dir(scene.path(".")).unwrap().count(), files + 5);
    let args = ["inspect", "cache", "--html", "absent/page.html"];
    assert_eq!(scene.run(&args).status, 1);
    let both = [&PAGE[..], &["--json"]].concat();
    assert_eq!(scene.run(&both).status, 2);
}
