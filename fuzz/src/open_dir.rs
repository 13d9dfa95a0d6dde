//! A cache directory that was edited: it opens or says why not, and what it shows is judged by how it was edited.
//!
//! ```text
//!   one fault, or two small ones after a close      the oracle: nothing wrong, stale or removed
//!   more faults, or metadata whose crc was forged   each value is whole and was its key's once
//!   frames whose crc was forged                     any bytes: only no panic, no hang
//! ```
//! Whatever it is, what is stored afterwards is shown as it was stored, or not at all.
//!
//! Input: which directory, edits of eight bytes.

use perennial::{Cache, Inserted};
use perennial_failpoints::SimFs;
use perennial_failpoints::lab::{Crash, identify, key, value};

use super::Seed;
use super::directories::{ALL, Directory, check, open, path};
use super::edits::{Edited, Forged};
use super::input::Input;

const MAX_EDITS: u32 = 12;

pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let directory = &ALL[usize::from(input.u8()) % ALL.len()];
    let mut edited = Edited::new(directory);
    for _ in 0..MAX_EDITS {
        if input.is_empty() {
            break;
        }
        edited.edit(&mut input);
    }
    let machine = written(directory, &edited);
    check(&machine);
    match open(&machine) {
        Ok(cache) => {
            judge(&cache, directory, &edited);
            live_on(cache, &machine);
        }
        Err(why) => assert!(!why.to_string().is_empty()),
    }
}

fn written(directory: &Directory, edited: &Edited<'_>) -> SimFs {
    let machine = directory.machine.process_crash();
    for (name, content) in &edited.files {
        let path = path(name);
        match content {
            Some(content) if machine.read_file(&path).as_ref() != Some(content) => {
                machine.write_file(&path, content);
            }
            Some(_) => {}
            None => {
                machine.remove_file(&path);
            }
        }
    }
    machine
}

fn judge(cache: &Cache, directory: &Directory, edited: &Edited<'_>) {
    let mut oracle = directory.oracle.clone();
    // Without its tail a killed cache is one whose machine lost power.
    let crash = if edited.in_tail_head > 0 && !directory.closed {
        Crash::Power
    } else {
        directory.crash
    };
    for key in oracle.known_keys() {
        let Ok(Some(found)) = cache.get(&key) else {
            continue;
        };
        let judged = if edited.forged == Forged::Frames {
            Ok(())
        } else if is_promised(directory, edited) {
            oracle.check_recovered(&key, Some(&found), crash)
        } else {
            identify(&key, &found).map(drop)
        };
        judged.unwrap_or_else(|why| panic!("{why}"));
    }
}

/// What `docs/recovery.md` promises in full. A kill is a fault of its own.
fn is_promised(directory: &Directory, edited: &Edited<'_>) -> bool {
    let most = if directory.closed && edited.large == 0 {
        2
    } else {
        1
    };
    edited.forged == Forged::Nothing && edited.faults <= most
}

/// Stores, reads, closes and opens again. A call may fail where the directory lies.
fn live_on(cache: Cache, machine: &SimFs) {
    let mut stored = Vec::new();
    for op in 1_000_000..1_000_012_u64 {
        let key = key(u8::try_from(op % 9).expect("few keys"));
        let value = value(&key, op, usize::try_from(op % 7 * 200).expect("short"));
        stored.retain(|(found, _)| *found != key);
        if op % 9 == 4 {
            if cache.remove(&key).is_ok() {
                assert!(!matches!(cache.get(&key), Ok(Some(_))), "it was removed");
            }
        } else if matches!(cache.insert(&key, &value), Ok(Inserted::Stored)) {
            stored.push((key, value));
        }
        if op % 5 == 0 {
            let _ = cache.checkpoint();
        }
    }
    show(&cache, &stored, "stored");
    if cache.close().is_ok()
        && let Ok(cache) = open(machine)
    {
        show(&cache, &stored, "stored, closed and opened again");
    }
}

fn show(cache: &Cache, stored: &[(Vec<u8>, Vec<u8>)], when: &str) {
    for (key, value) in stored {
        if let Ok(Some(found)) = cache.get(key) {
            let op = identify(key, &found);
            assert!(found[..] == value[..], "{when}: shows operation {op:?}");
        }
    }
}

pub fn seeds() -> Vec<Seed> {
    let one = |name: &str, directory: u8, edits: &[[u8; 8]]| {
        let input = [&[directory], edits.as_flattened()].concat();
        (name.to_owned(), input)
    };
    let mut seeds: Vec<Seed> = (0..6)
        .map(|n| one(&format!("untouched-{n}"), n, &[]))
        .collect();
    seeds.extend([
        one("a-bit", 1, &[[0, 2, 0, 5, 4, 0, 0, 0]]),
        one(
            "two-bits",
            0,
            &[[0, 1, 0, 5, 4, 0, 0, 0], [0, 3, 9, 4, 1, 0, 0, 0]],
        ),
        one(
            "header-forged",
            2,
            &[[0x82, 1, 24, 0, 11, 0, 0, 0], [0x82, 1, 24, 2, 11, 0, 0, 0]],
        ),
        one("trailer-forged", 2, &[[0x81, 2, 0xd0, 0x1f, 9, 0, 0, 0]]),
        one("identity-forged", 0, &[[0x82, 0, 42, 0, 9, 0, 0, 0]]),
        one("frame-forged", 3, &[[0xc0, 2, 20, 4, 9, 0, 0, 0]]),
        one("tail-forged", 1, &[[0x82, 9, 0, 1, 9, 0, 0, 0]]),
        one("sector-of-another", 4, &[[4, 1, 0, 8, 6, 0, 0, 2]]),
        one("a-file-gone", 2, &[[6, 4, 0, 0, 0, 0, 0, 0]]),
        one("a-file-cut", 3, &[[5, 4, 0, 9, 0, 0, 0, 0]]),
        one("a-file-doubled", 2, &[[7, 3, 0, 0, 14, 0, 0, 0]]),
    ]);
    seeds
}
