//! repair: 200 flipped bits, each found by the binary, mended by it, and then nothing else is different.

#[path = "../../../tests/it/verify/structures.rs"]
mod structures;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use perennial::{Cache, Options, Value};

use crate::support::{Scene, picture};
use structures::{Structure, structures};

const SAMPLES: u64 = 200;
const KEYS: usize = 12;

fn options() -> Options {
    Options::new()
        .capacity_bytes(256 << 10)
        .segment_bytes(8 << 10)
        .tail_bytes(4 << 10)
}

fn key(n: usize) -> String {
    format!("key-{n}")
}

/// Several segments, extents, removes, two checkpoints.
fn fill(cache: &Path) {
    let cache = Cache::open(cache, options()).unwrap();
    for n in 0..30 {
        let len = if n % 9 == 4 { 1_800 } else { 40 * n };
        cache
            .insert(key(n % KEYS), vec![u8::try_from(n).unwrap(); len])
            .unwrap();
        if n % 7 == 3 {
            cache.remove(key((n + 1) % KEYS)).unwrap();
        }
        if n == 15 {
            cache.checkpoint().unwrap();
        }
    }
    cache.close().unwrap();
}

fn entries(cache: &Path) -> BTreeMap<String, Option<Value>> {
    let cache = Cache::open(cache, options()).unwrap();
    (0..KEYS)
        .map(|n| (key(n), cache.get(key(n)).unwrap()))
        .collect()
}

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir(to).unwrap();
    for (path, content) in picture(from) {
        fs::write(to.join(path.file_name().unwrap()), content).unwrap();
    }
}

/// Every structure of the directory, with its file.
fn all_structures(cache: &Path) -> Vec<(String, Structure)> {
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let files = picture(cache).into_iter();
    let of_file = |(path, content): (std::path::PathBuf, Vec<u8>)| {
        let name = name(&path);
        let found = structures(&name, &content).into_iter();
        found.map(move |structure| (name.clone(), structure))
    };
    files.flat_map(of_file).collect()
}

/// So many bits, spread over all of them.
fn sampled(structures: &[(String, Structure)]) -> Vec<(String, Structure, usize)> {
    let bits = structures.iter().flat_map(|(name, structure)| {
        let bits = structure.bytes.start * 8..structure.bytes.end * 8;
        bits.map(move |bit| (name, structure, bit))
    });
    let all: Vec<_> = bits.collect();
    // An odd step, so that every place in a byte comes.
    let step = (all.len() as u64 / SAMPLES) | 1;
    let nth = |n: u64| usize::try_from(n * step).unwrap() % all.len();
    let chosen = (0..SAMPLES).map(|n| all[nth(n)]);
    chosen
        .map(|(name, structure, bit)| (name.clone(), structure.clone(), bit))
        .collect()
}

#[test]
fn two_hundred_flipped_bits_are_found_and_mended() {
    let scene = Scene::new();
    let (whole, cache) = (scene.path("whole"), scene.path("cache"));
    fill(&whole);
    copy(&whole, &cache);
    let truth = entries(&cache);
    assert!(truth.values().flatten().count() > 6);
    let samples = sampled(&all_structures(&whole));
    for (name, structure, bit) in samples {
        copy(&whole, &cache);
        let mut content = fs::read(cache.join(&name)).unwrap();
        content[bit / 8] ^= 1 << (bit % 8);
        fs::write(cache.join(&name), content).unwrap();
        let when = format!("{name} {structure:?} bit {bit}");

        let found = scene.run(&["verify", "cache", "--json"]);
        let report: serde_json::Value = serde_json::from_slice(&found.stdout).unwrap();
        assert_eq!(found.status, 3, "{when}: {report}");
        let names_it = |problem: &serde_json::Value| {
            let offset = usize::try_from(problem["offset"].as_u64().unwrap()).unwrap();
            problem["path"].as_str().unwrap().ends_with(&name) && structure.bytes.contains(&offset)
        };
        let problems = report["problems"].as_array().unwrap();
        assert!(problems.iter().any(names_it), "{when}: {report}");

        scene.ok(&["repair", "cache", "--apply"]);
        scene.ok(&["verify", "cache"]);
        let now = entries(&cache);
        let differ = now.iter().filter(|(key, value)| **value != truth[*key]);
        let differ: Vec<_> = differ.collect();
        let may_lose = usize::from(structure.what.is_value(bit / 8, &structure));
        assert!(differ.len() <= may_lose, "{when}: {differ:?}");
        assert!(
            differ.iter().all(|(_, value)| value.is_none()),
            "{when}: {differ:?}"
        );
    }
}

#[test]
fn repair_is_dry_unless_told() {
    let scene = Scene::new();
    let cache = scene.path("cache");
    fill(&cache);
    assert_eq!(scene.text(&["repair", "cache"]), "no damage\n");
    let path = cache.join("seg-000000");
    let mut content = fs::read(&path).unwrap();
    content[600] ^= 4;
    fs::write(&path, content).unwrap();
    let before = picture(&cache);

    let dry = scene.run(&["repair", "cache"]);
    let said = String::from_utf8(dry.stdout).unwrap();
    assert_eq!((dry.status, dry.stderr.as_str()), (3, ""), "{said}");
    assert!(
        said.contains("seg-000000 at offset 512: a copy of the segment header"),
        "{said}"
    );
    assert!(
        said.contains("1 found, of which 1 can be mended: --apply does it"),
        "{said}"
    );
    assert!(picture(&cache) == before);

    let report = scene.json(&["repair", "cache", "--apply", "--json"]);
    assert_eq!(report["applied"], true);
    assert_eq!(report["repairs"][0]["offset"], 512);
    assert_eq!(report["verified"]["problems"].as_array().unwrap().len(), 0);
    let copy = report["quarantined"][0].as_str().unwrap();
    assert!(copy.ends_with("cache/quarantine/seg-000000.1"), "{copy}");
    assert_eq!(scene.text(&["repair", "cache", "--apply"]), "no damage\n");
}

#[test]
fn a_cache_that_is_open_is_locked_and_a_lost_identity_is_damage() {
    let scene = Scene::new();
    let path = scene.path("cache");
    fill(&path);
    let cache = Cache::open(&path, options()).unwrap();
    for args in [&["repair", "cache"][..], &["repair", "cache", "--apply"]] {
        scene.fails(args, 11, "open in another process");
    }
    cache.close().unwrap();
    fs::write(path.join("identity"), [0x5a; 1024]).unwrap();
    scene.fails(&["repair", "cache", "--apply"], 3, "identity");
}
