//! The worked example of `docs/format.md` is what the code writes, byte for byte.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use perennial::{Cache, Eviction, Options};
use perennial_failpoints::SimFs;

const DOCUMENT: &str = include_str!("../../docs/format.md");
const DIR: &str = "/cache";

/// The cache of the document: one entry small, one removed, one too large for an io buffer, then closed.
fn example() -> SimFs {
    let fs = SimFs::new(1);
    let options = Options::new()
        .capacity_bytes(64 << 10)
        .segment_bytes(8 << 10)
        .tail_bytes(4 << 10)
        .index_shards(1)
        .checkpoint_every_bytes(32 << 10)
        .memory_tier_bytes(0)
        .eviction(Eviction::Fifo)
        .background(false);
    let cache = Cache::open_with(Arc::new(fs.clone()), DIR, options).unwrap();
    cache.insert("tile/7/3", "a small value").unwrap();
    cache.remove("tile/7/4").unwrap();
    cache.insert("tile/7/5", [b'x'; 5000]).unwrap();
    // Fills the segment, so that it gets its trailer.
    cache.insert("tile/7/6", [b'y'; 2000]).unwrap();
    cache.close().unwrap();
    fs
}

/// As `hexdump -C` shows it: a line like the one before is left out.
fn dump(bytes: &[u8]) -> String {
    let (mut text, mut last, mut skipping) = (String::new(), None, false);
    for (i, line) in bytes.chunks(16).enumerate() {
        if last == Some(line) {
            if !skipping {
                text.push_str("*\n");
            }
            skipping = true;
            continue;
        }
        (last, skipping) = (Some(line), false);
        write!(text, "{:08x} ", i * 16).unwrap();
        for (at, byte) in line.iter().enumerate() {
            write!(text, "{}{byte:02x}", if at == 8 { "  " } else { " " }).unwrap();
        }
        let shown = |b: &u8| {
            if (b' '..=b'~').contains(b) {
                *b as char
            } else {
                '.'
            }
        };
        writeln!(text, "  |{}|", line.iter().map(shown).collect::<String>()).unwrap();
    }
    writeln!(text, "{:08x}", bytes.len()).unwrap();
    text
}

#[test]
fn the_worked_example_is_what_is_written() {
    let fs = example();
    let shown = |name: &String| {
        ["identity", "seg-000000", "seg-000001"].contains(&name.as_str())
            || name.starts_with("tail-")
    };
    let files: Vec<_> = fs
        .file_names(Path::new(DIR))
        .into_iter()
        .filter(shown)
        .collect();
    assert_eq!(files.len(), 4, "{files:?}");
    for name in files {
        let mut bytes = fs.read_file(&Path::new(DIR).join(&name)).unwrap();
        if name.starts_with("tail-") {
            // The ring behind the head holds what the segments hold.
            bytes.truncate(4096);
        }
        let dump = dump(&bytes);
        assert!(
            DOCUMENT.contains(&dump),
            "docs/format.md does not show {name} as it is:\n{dump}"
        );
    }
}
