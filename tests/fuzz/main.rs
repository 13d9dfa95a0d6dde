//! The fuzz targets' bodies (`fuzz/src`) on every committed seed, without a fuzzer.
//!
//! `fuzz/seeds/` holds the inputs the fuzzer begins with, and whatever once failed. `PERENNIAL_WRITE_SEEDS=1 cargo test
//! --test fuzz` writes the first kind anew.

#[path = "../../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "a crate of its own to the fuzzer")]
mod targets;

use std::path::{Path, PathBuf};

use targets::{TARGETS, Target};

fn directory(target: &Target) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("fuzz/seeds").join(target.name)
}

/// The committed inputs of a target, sorted by name.
#[expect(clippy::disallowed_methods, reason = "files of the repository")]
fn committed(target: &Target) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(directory(target)).expect("a directory of seeds");
    let mut inputs: Vec<_> = entries
        .map(|entry| {
            let path = entry.expect("it can be listed").path();
            let name = path.file_name().expect("a name").to_string_lossy();
            let input = std::fs::read(&path).expect("it can be read");
            (name.into_owned(), input)
        })
        .collect();
    inputs.sort();
    inputs
}

fn replay(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name);
    let target = target.expect("a target of this name");
    let inputs = committed(target);
    for (name, input) in &inputs {
        println!("{}: {name}", target.name);
        (target.run)(input);
    }
    assert!(inputs.len() >= (target.seeds)().len());
}

#[test]
fn frames() {
    replay("frame");
}

#[test]
fn log_streams() {
    replay("log_stream");
}

#[test]
fn segment_headers() {
    replay("segment_header");
}

#[test]
fn trailers() {
    replay("trailer");
}

#[test]
fn checkpoints() {
    replay("checkpoint");
}

#[test]
fn directories() {
    replay("open_dir");
}

#[test]
fn crashes() {
    replay("ops_crash");
}

/// A seed of an older format is no way in any more.
#[test]
#[expect(clippy::disallowed_methods, reason = "files of the repository")]
fn the_committed_seeds_are_what_the_code_writes() {
    for target in &TARGETS {
        let dir = directory(target);
        let write = std::env::var_os("PERENNIAL_WRITE_SEEDS").is_some();
        if write {
            std::fs::create_dir_all(&dir).expect("a directory for seeds");
        }
        for (name, seed) in (target.seeds)() {
            let path = dir.join(&name);
            if write {
                std::fs::write(&path, &seed).expect("a seed can be written");
            }
            let found = std::fs::read(&path).ok();
            assert!(found == Some(seed), "{} {name} is another", target.name);
        }
    }
}
