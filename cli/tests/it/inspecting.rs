//! inspect, down to one frame.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use perennial::{Cache, Options};
use serde_json::Value;

use crate::support::{Scene, damage, picture};

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

fn frames(scene: &Scene, segment: u64) -> Vec<Value> {
    let segment = segment.to_string();
    let args = [
        "inspect",
        "cache",
        "--segment",
        &segment,
        "--frames",
        "--json",
    ];
    scene.json(&args)["frames"].as_array().unwrap().clone()
}

fn frame(scene: &Scene, segment: u64, offset: u64) -> Value {
    let (segment, offset) = (segment.to_string(), offset.to_string());
    scene.json(&[
        "inspect",
        "cache",
        "--segment",
        &segment,
        "--frame",
        &offset,
        "--json",
    ])
}

/// The offset of the only frame of this kind in segment 1.
fn only(scene: &Scene, kind: &str) -> u64 {
    let mut found = frames(scene, 1);
    found.retain(|frame| frame["kind"] == kind);
    assert_eq!(found.len(), 1, "{found:?}");
    number(&found[0]["offset"])
}

/// Fields one behind the other, from the frame's first byte to its last, and all that can be proved is good.
fn is_explained(scene: &Scene, segment: u64, listed: &Value) {
    let begin = number(&listed["offset"]);
    let shown = frame(scene, segment, begin);
    assert_eq!(shown["header_is_good"], true, "{shown}");
    assert_ne!(shown["body_is_good"], false, "{shown}");
    let mut at = begin;
    for field in shown["fields"].as_array().unwrap() {
        assert_eq!(number(&field["offset"]), at, "{field}");
        assert_ne!(field["name"], "rest", "{shown}");
        assert!(
            !field["meaning"].as_str().unwrap().contains("is bad"),
            "{field}"
        );
        at += number(&field["bytes"]);
    }
    assert_eq!(at, begin + number(&listed["bytes"]), "{shown}");
}

/// Up to three frames of each kind, of all segments.
fn explain_each_kind(scene: &Scene, kinds: &mut BTreeSet<String>) {
    let mut seen = BTreeMap::new();
    let inspection = scene.json(&["inspect", "cache", "--json"]);
    for segment in inspection["segments"].as_array().unwrap() {
        let segment = number(&segment["number"]);
        if segment == 0 {
            continue;
        }
        for listed in frames(scene, segment) {
            let kind = listed["kind"].as_str().unwrap().to_owned();
            let count: &mut u32 = seen.entry(kind.clone()).or_default();
            *count += 1;
            if *count <= 3 {
                is_explained(scene, segment, &listed);
            }
            kinds.insert(kind);
        }
    }
}

#[test]
fn every_byte_of_every_kind_of_frame_is_explained() {
    let scene = Scene::new();
    let options = || {
        Options::new()
            .capacity_bytes(4 << 20)
            .segment_bytes(256 << 10)
            .tail_bytes(128 << 10)
            .memory_tier_bytes(0)
    };
    let open = || Cache::open(scene.path("cache"), options()).unwrap();
    let mut kinds = BTreeSet::new();
    let cache = open();
    cache.insert(b"large", vec![3; 150_000]).unwrap();
    cache.remove(b"large").unwrap();
    cache.close().unwrap();
    explain_each_kind(&scene, &mut kinds);
    let cache = open();
    for n in 0..3000_u32 {
        cache.insert(n.to_le_bytes(), vec![7; 4000]).unwrap();
        // What is read drifts, so that reclaim moves some to kept segments up to the end.
        cache
            .get((n / 4 * 4).saturating_sub(400).to_le_bytes())
            .unwrap();
    }
    cache.close().unwrap();
    explain_each_kind(&scene, &mut kinds);
    let cache = open();
    cache.clear().unwrap();
    cache.close().unwrap();
    explain_each_kind(&scene, &mut kinds);
    for kind in [
        "put", "ref", "extent", "remove", "mark", "part", "head", "move", "clear",
    ] {
        assert!(kinds.contains(kind), "no {kind} among {kinds:?}");
    }
}

#[test]
fn the_frames_of_a_segment_are_listed() {
    let scene = Scene::with_cache();
    scene.ok(&["put", "cache", "key", "value"]);
    let listed = frames(&scene, 1);
    let put = listed.iter().find(|frame| frame["kind"] == "put").unwrap();
    assert_eq!(
        (&put["key_bytes"], &put["value_bytes"]),
        (&3.into(), &5.into())
    );
    let text = scene.text(&["inspect", "cache", "--segment", "1", "--frames"]);
    assert_eq!(text.lines().count(), listed.len() + 2, "{text}");
    assert!(text.contains(" put ") && text.contains("clean"), "{text}");
    let args = ["inspect", "cache", "--segment", "999", "--frames"];
    scene.fails(&args, 10, "no segment 999");
}

#[test]
fn a_key_and_a_value_are_shown_to_who_asks() {
    let scene = Scene::with_cache();
    scene.ok(&["put", "cache", "key-7", "value"]);
    let offset = only(&scene, "put").to_string();
    let args = ["inspect", "cache", "--segment", "1", "--frame", &offset];
    let text = scene.text(&args);
    assert!(text.contains("header good, body good"), "{text}");
    assert_eq!(
        text.matches("not shown, see --content").count(),
        3,
        "{text}"
    );
    let hex = ["6b 65 79 2d 37", "76 61 6c 75 65"];
    assert!(hex.iter().all(|hex| !text.contains(hex)), "{text}");
    let text = scene.text(&[&args[..], &["--content"]].concat());
    assert!(hex.iter().all(|hex| text.contains(hex)), "{text}");
}

/// What is in the middle of a value is no header, and is not shown as one.
#[test]
fn where_no_frame_begins_nothing_is_shown() {
    let scene = Scene::with_cache();
    scene.ok(&["put", "cache", "k", &"secret".repeat(100)]);
    let offset = (only(&scene, "put") + 256).to_string();
    let args = ["inspect", "cache", "--segment", "1", "--frame", &offset];
    let text = scene.text(&args);
    assert!(
        text.contains("header bad") && text.contains("of no frame"),
        "{text}"
    );
    assert!(
        !text.contains("73 65 63") && text.lines().count() == 2,
        "{text}"
    );
    let text = scene.text(&[&args[..], &["--content"]].concat());
    assert!(text.contains("73 65 63"), "{text}");
}

#[test]
fn an_offset_that_no_frame_has_is_2() {
    let scene = Scene::with_cache();
    let args = ["inspect", "cache", "--segment", "1", "--frame"];
    for (offset, part) in [
        ("4100", "choose a multiple of 16"),
        ("0", "choose a multiple of 16"),
        ("0x7ffffff0", "choose a multiple of 16"),
    ] {
        scene.fails(&[&args[..], &[offset]].concat(), 2, part);
    }
    assert_eq!(scene.run(&[&args[..], &["many"]].concat()).status, 2);
    assert_eq!(
        scene.run(&["inspect", "cache", "--frame", "4096"]).status,
        2
    );
}

#[test]
fn a_flipped_bit_is_in_the_list_and_in_its_frame() {
    let scene = Scene::with_cache();
    let value = "w".repeat(9000);
    scene.ok(&["put", "cache", "k", &value]);
    let offset = only(&scene, "put");
    assert_eq!(damage(&scene.path("cache"), value.as_bytes()), 1);
    let args = ["inspect", "cache", "--segment", "1", "--frames", "--json"];
    let listed = scene.json(&args);
    assert_eq!(listed["damage"][0]["offset"], offset, "{listed}");
    // The tail still has it, for it is of this boot.
    let shown = frame(&scene, 1, offset);
    assert_eq!(
        (&shown["in_tail"], &shown["body_is_good"]),
        (&true.into(), &true.into()),
        "{shown}"
    );
    for file in fs::read_dir(scene.path("cache")).unwrap() {
        let path = file.unwrap().path();
        if path
            .file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with("tail-")
        {
            fs::remove_file(path).unwrap();
        }
    }
    let shown = frame(&scene, 1, offset);
    assert_eq!(
        (&shown["header_is_good"], &shown["body_is_good"]),
        (&true.into(), &false.into()),
        "{shown}"
    );
}

/// What only the tail has is shown from there, beside the process that has the cache open.
#[test]
fn what_is_in_the_tail_is_shown() {
    let scene = Scene::new();
    let options = Options::new().capacity_bytes(4 << 20).background(false);
    let open = Cache::open(scene.path("cache"), options).unwrap();
    open.insert(b"k", b"v").unwrap();
    let before = picture(&scene.path("cache"));
    let listed = frames(&scene, 1);
    assert_eq!(
        (&listed[0]["kind"], &listed[0]["in_tail"]),
        (&"put".into(), &true.into())
    );
    let shown = frame(&scene, 1, number(&listed[0]["offset"]));
    assert_eq!(
        (&shown["in_tail"], &shown["body_is_good"]),
        (&true.into(), &true.into()),
        "{shown}"
    );
    assert_eq!(picture(&scene.path("cache")), before);
    open.close().unwrap();
}
