//! What is published says what it is, brings its licenses, and needs the Rust that it says.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// What cargo knows of the workspace and of what it depends on where perennial runs.
fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--format-version", "1"])
        .args(["--all-features", "--filter-platform"])
        .arg("x86_64-unknown-linux-gnu")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], |list| list)
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn package<'a>(metadata: &'a Value, id: &str) -> &'a Value {
    let packages = list(metadata, "packages");
    packages.iter().find(|one| text(one, "id") == id).unwrap()
}

/// The members that are published.
fn published(metadata: &Value) -> Vec<&Value> {
    let ids = list(metadata, "workspace_members").iter();
    let members = ids.map(|id| package(metadata, id.as_str().unwrap()));
    members.filter(|one| one["publish"].is_null()).collect()
}

#[test]
fn every_package_says_what_it_is() {
    let metadata = metadata();
    let packages = published(&metadata);
    assert_eq!(packages.len(), 6);
    for package in packages {
        let name = text(package, "name");
        for field in [
            "description",
            "license",
            "repository",
            "readme",
            "rust_version",
        ] {
            assert!(!text(package, field).is_empty(), "{name} has no {field}");
        }
        // More keywords, or longer ones, are refused by the registry.
        let keywords = list(package, "keywords");
        assert!((1..=5).contains(&keywords.len()), "{name}: {keywords:?}");
        let too_long = |word: &Value| word.as_str().unwrap().len() > 20;
        assert!(!keywords.iter().any(too_long), "{name}: {keywords:?}");
        assert!(!list(package, "categories").is_empty(), "{name}");
        let dir = Path::new(text(package, "manifest_path")).parent().unwrap();
        for file in ["LICENSE-MIT", "LICENSE-APACHE", text(package, "readme")] {
            assert!(dir.join(file).is_file(), "{name} does not bring {file}");
        }
    }
}

/// What `ids` need to be built, but for their tests; with them.
fn needed<'a>(metadata: &'a Value, ids: Vec<&'a str>) -> BTreeSet<&'a str> {
    let nodes = list(&metadata["resolve"], "nodes");
    let (mut seen, mut left) = (BTreeSet::new(), ids);
    while let Some(id) = left.pop() {
        if !seen.insert(id) {
            continue;
        }
        let node = nodes.iter().find(|node| text(node, "id") == id).unwrap();
        let is_used = |dep: &&Value| {
            let kinds = list(dep, "dep_kinds").iter();
            kinds.into_iter().any(|kind| text(kind, "kind") != "dev")
        };
        let used = list(node, "deps").iter().filter(is_used);
        left.extend(used.map(|dep| text(dep, "pkg")));
    }
    seen
}

fn version(text: &str) -> (u32, u32) {
    let mut parts = text.split('.').map(|part| part.parse().unwrap());
    (parts.next().unwrap(), parts.next().unwrap_or(0))
}

#[test]
fn the_least_rust_is_the_highest_that_a_dependency_needs() {
    let metadata = metadata();
    let ours = published(&metadata);
    let said: BTreeSet<_> = ours.iter().map(|one| text(one, "rust_version")).collect();
    assert_eq!(said.len(), 1, "{said:?}");
    let said = version(said.first().unwrap());
    let ids = ours.iter().map(|one| text(one, "id")).collect();
    let others = needed(&metadata, ids).into_iter();
    let others = others.map(|id| package(&metadata, id));
    let others = others.filter(|one| !one["source"].is_null() && !one["rust_version"].is_null());
    let (highest, whose) = others
        .map(|one| (version(text(one, "rust_version")), text(one, "name")))
        .max()
        .unwrap();
    assert_eq!(said, highest, "{whose} needs it; Cargo.toml says otherwise");
}
