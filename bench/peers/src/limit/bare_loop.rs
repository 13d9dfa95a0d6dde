//! The least that an insert of a small value into memory can do: hash the key, crc the entry, copy it into a ring, write 8
//! bytes at a random place of a table.

use std::hint::black_box;
use std::time::{Duration, Instant};

use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::data::{KEY_BYTES, Values, key};

const RING_BYTES: usize = 64 << 20;
/// Bytes of the table for each entry: what an index takes.
const SLOT_BYTES: u64 = 16;
const HEAD_BYTES: usize = 32;

pub(crate) struct BareLoop {
    ring: Vec<u8>,
    at: usize,
    table: Vec<u64>,
}

impl BareLoop {
    pub(crate) fn new(entries: u64) -> Self {
        let slots = (entries * SLOT_BYTES / 8).next_power_of_two();
        // Not zeros: pages that were never written would be page faults.
        Self {
            ring: vec![1; RING_BYTES],
            at: 0,
            table: vec![1; slots as usize],
        }
    }

    fn insert(&mut self, key: &[u8; KEY_BYTES], value: &[u8]) {
        let hash = xxh3_128_with_seed(key, 7);
        let bytes = (HEAD_BYTES + KEY_BYTES + value.len()).next_multiple_of(16);
        if self.at + bytes > self.ring.len() {
            self.at = 0;
        }
        let mut crc = crc32fast::Hasher::new();
        crc.update(key);
        crc.update(value);
        let frame = &mut self.ring[self.at..self.at + bytes];
        frame[..4].copy_from_slice(&crc.finalize().to_le_bytes());
        frame[4..8].copy_from_slice(&(value.len() as u32).to_le_bytes());
        frame[8..24].copy_from_slice(&hash.to_le_bytes());
        frame[HEAD_BYTES..HEAD_BYTES + KEY_BYTES].copy_from_slice(key);
        frame[HEAD_BYTES + KEY_BYTES..][..value.len()].copy_from_slice(value);
        let slot = hash as usize & (self.table.len() - 1);
        self.table[slot] = self.at as u64;
        self.at += bytes;
    }

    /// How many of `entries` went in within the time, and how long that took in seconds.
    pub(crate) fn run(&mut self, values: &Values, entries: u64, limit: Duration) -> (u64, f64) {
        let started = Instant::now();
        let mut done = 0;
        while done < entries && (done % 1024 != 0 || started.elapsed() < limit) {
            self.insert(&key(done), values.of(done));
            done += 1;
        }
        black_box((&self.ring, &self.table));
        (done, started.elapsed().as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_in_the_ring() {
        let mut bare = BareLoop::new(1000);
        let values = Values::new(100);
        let (done, seconds) = bare.run(&values, 10, Duration::from_secs(60));
        assert_eq!(done, 10);
        assert!(seconds > 0.0);
        let frame = (HEAD_BYTES + KEY_BYTES + 100_usize).next_multiple_of(16);
        let third = &bare.ring[2 * frame..][HEAD_BYTES..];
        assert_eq!(third[..KEY_BYTES], key(2));
        assert_eq!(third[KEY_BYTES..][..100], *values.of(2));
        let slot = xxh3_128_with_seed(&key(9), 7) as usize & (bare.table.len() - 1);
        assert_eq!(bare.table[slot], 9 * frame as u64);
    }
}
