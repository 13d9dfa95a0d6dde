//! A bit that rots in a large value, of which only a part is read: nothing of it is given out, decoded or not, that its
//! chunk's crc did not prove.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use perennial::{Cache, Compression, InsertOptions, Options};
use perennial_failpoints::SimFs;

const DIR: &str = "/cache";
const KIB: usize = 1 << 10;

fn open(machine: &SimFs) -> Result<Cache, String> {
    let options = Options::new()
        .capacity_bytes(4 << 20)
        .segment_bytes(512 << 10)
        .tail_bytes(64 << 10)
        .memory_tier_bytes(0)
        .index_shards(1)
        .background(false);
    Cache::open_with(Arc::new(machine.clone()), DIR, options).map_err(|e| e.to_string())
}

/// Bytes that no codec makes smaller, or that each does.
fn value(stretched: usize) -> Vec<u8> {
    let noise = |n: usize| {
        let mixed = (n as u64 / stretched as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ mixed >> 29)
            .wrapping_mul(0xbf58_476d_1ce4_e5b9)
            .to_le_bytes()[6]
    };
    (0..150 * KIB).map(noise).collect()
}

/// The same value as it is and, where there is a codec, compressed.
fn codecs() -> Vec<(&'static str, Compression, Vec<u8>)> {
    let mut all = vec![("as it is", Compression::None, value(1))];
    if cfg!(feature = "lz4") {
        all.push(("lz4", Compression::Lz4, value(4)));
    }
    if cfg!(feature = "zstd") {
        all.push(("zstd", Compression::Zstd(1), value(4)));
    }
    all
}

#[test]
fn no_chunk_that_rotted_is_given_out() {
    a_chunk_rots().expect("the code as it is");
}

/// One bit of every 499th byte that was written of the segment that the value lies in; then ranges are read, and are right or a miss.
pub(super) fn a_chunk_rots() -> Result<(), String> {
    for (name, codec, value) in codecs() {
        let machine = SimFs::new(1);
        let cache = open(&machine)?;
        let how = InsertOptions::new().compression(codec);
        let stored = cache.insert_with("large", &value, how);
        stored.map_err(|e| e.to_string())?;
        // Behind it its segment is full, and sealed: one that is not is walked by the open, which forgets what rotted.
        for n in 0..4 {
            let behind = cache.insert(format!("behind-{n}"), vec![7; 150 * KIB]);
            behind.map_err(|e| e.to_string())?;
        }
        cache.close().map_err(|e| e.to_string())?;
        machine.mark_all_durable();
        if check(&machine.process_crash(), &value)? != RANGES.len() {
            return Err(format!("{name}: it is not there"));
        }
        for file in ["seg-000000"] {
            let path = Path::new(DIR).join(file);
            let content = machine.read_file(&path).unwrap_or_default();
            let written = |at: &usize| content[*at] != 0;
            for byte in (0..content.len()).step_by(499).filter(written) {
                let rotten = machine.process_crash();
                let bit = u32::try_from(byte * 5 % 8).map_err(|e| e.to_string())?;
                assert!(rotten.flip_bit(&path, byte as u64, bit));
                let judged = check(&rotten, &value);
                judged.map_err(|why| format!("seed 1, {name}, byte {byte} of {file}: {why}"))?;
            }
        }
    }
    Ok(())
}

const RANGES: [Range<usize>; 3] = [0..40 * KIB, 60 * KIB..70 * KIB, 100 * KIB..150 * KIB];

/// How many of [`RANGES`] are found.
fn check(rotten: &SimFs, value: &[u8]) -> Result<usize, String> {
    let Ok(cache) = open(rotten) else {
        // Of a damaged disk that is an answer.
        return Ok(0);
    };
    let mut there = 0;
    for range in RANGES {
        let asked = range.start as u64..range.end as u64;
        let found = cache.get_range("large", asked).map_err(|e| e.to_string())?;
        if found
            .as_ref()
            .is_some_and(|found| **found != value[range.clone()])
        {
            return Err(format!("{range:?} is not what was stored"));
        }
        there += usize::from(found.is_some());
    }
    Ok(there)
}
