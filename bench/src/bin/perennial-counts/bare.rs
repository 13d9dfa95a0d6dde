//! What the paths are compared with: the same work without a cache around it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path as Dir;

use perennial_wal::to_usize;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::warm::{key, value};

const RING_BYTES: usize = 64 << 20;
/// Entries of eight bytes: 32 MiB, of which the processor's caches hold a part.
const TABLE_LOG2: u32 = 22;
/// Bytes in front of each value: a frame's header.
const HEADER_BYTES: usize = 32;

/// The same hash, crc and copy as an insert, and one write to a random place of a table.
pub(crate) struct BareLoop {
    ring: Vec<u8>,
    at: usize,
    table: Vec<u64>,
}

impl BareLoop {
    pub(crate) fn new() -> Self {
        Self {
            // Not zeros: those would be pages that are not there yet.
            ring: vec![1; RING_BYTES],
            at: 0,
            table: vec![1; 1 << TABLE_LOG2],
        }
    }

    pub(crate) fn insert(&mut self, key: &[u8], value: &[u8]) {
        let hash = xxh3_128_with_seed(key, 7).to_le_bytes();
        let hash = u64::from_le_bytes(*hash.first_chunk().expect("sixteen bytes"));
        let bytes = (HEADER_BYTES + key.len() + value.len()).next_multiple_of(16);
        if self.at + bytes > RING_BYTES {
            self.at = 0;
        }
        let (header, body) = self.ring[self.at..self.at + bytes].split_at_mut(HEADER_BYTES);
        body[..key.len()].copy_from_slice(key);
        body[key.len()..key.len() + value.len()].copy_from_slice(value);
        let crc = crc32fast::hash(&body[..key.len() + value.len()]);
        header[..4].copy_from_slice(&crc.to_le_bytes());
        header[8..16].copy_from_slice(&hash.to_le_bytes());
        self.table[to_usize(hash >> (64 - TABLE_LOG2))] = self.at as u64;
        self.at += bytes;
    }
}

/// The crate behind the memory tier, alone, with shared values by their keys.
pub(crate) struct TierAlone(Cache<[u8; 16], bytes::Bytes, Weight>);

#[derive(Clone)]
struct Weight;

impl Weighter<[u8; 16], bytes::Bytes> for Weight {
    fn weight(&self, key: &[u8; 16], value: &bytes::Bytes) -> u64 {
        (key.len() + value.len()) as u64
    }
}

impl TierAlone {
    pub(crate) fn filled(entries: u64, bytes: usize) -> Self {
        let cache = Cache::with_weighter(16 << 10, 64 << 20, Weight);
        for n in 0..entries {
            cache.insert(key(n), value(bytes).into());
        }
        Self(cache)
    }

    pub(crate) fn get(&self, key: &[u8; 16]) -> Option<bytes::Bytes> {
        self.0.get(key)
    }
}

/// Reads of a file at places that are known, into a buffer that is there.
pub(crate) struct RawReads {
    file: File,
    bytes: usize,
}

impl RawReads {
    pub(crate) fn new(dir: &Dir, entries: u64, bytes: usize) -> Self {
        let bytes = (HEADER_BYTES + 16 + bytes).next_multiple_of(16);
        let file = tempfile::tempfile_in(dir).expect("a file can be made");
        for n in 0..entries {
            let written = file.write_all_at(&value(bytes), n * bytes as u64);
            written.expect("written");
        }
        Self { file, bytes }
    }

    /// Reads the `n`th of the pieces.
    pub(crate) fn read(&self, n: u64, buf: &mut Vec<u8>) {
        buf.resize(self.bytes, 0);
        let read = self.file.read_exact_at(buf, n * self.bytes as u64);
        read.expect("read");
    }
}
