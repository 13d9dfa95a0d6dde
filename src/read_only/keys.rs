//! Listing the keys of a snapshot, in no order: places shard by shard, in their order, then headers and keys piece by piece.

use std::vec;

use perennial_wal::frame::{FrameHeader, FrameKind, HEADER_BYTES};
use perennial_wal::{ChainSegment, to_usize};

use super::ReadOnlyCache;
use super::files::{Missed, Read};
use crate::engine::{MAX_KEY_BYTES, hash_of};
use crate::heads::{Spot, head_bytes, together};

/// The keys of a [`ReadOnlyCache`], in no order.
#[derive(Debug)]
pub struct ReadOnlyKeys<'a> {
    cache: &'a ReadOnlyCache,
    /// Shards of the index that are listed.
    shards: usize,
    spots: vec::IntoIter<Spot>,
    ready: vec::IntoIter<Box<[u8]>>,
}

impl<'a> ReadOnlyKeys<'a> {
    pub(super) fn new(cache: &'a ReadOnlyCache) -> Self {
        Self {
            cache,
            shards: 0,
            spots: Vec::new().into_iter(),
            ready: Vec::new().into_iter(),
        }
    }

    /// The places of the next shards, as many as make a million. False: there are no more.
    fn next_shards(&mut self) -> bool {
        const TOGETHER: usize = 1 << 20;
        let (mut spots, mut image) = (Vec::new(), Vec::new());
        let index = &self.cache.index;
        let counts = |addr| self.cache.files.segment(addr).is_some();
        while self.shards < index.shards() && spots.len() < TOGETHER {
            index.image(self.shards, &counts, &mut image);
            spots.extend(image.drain(..).map(|entry| Spot {
                identity: entry.identity,
                addr: entry.addr,
                class: entry.size_class,
            }));
            self.shards += 1;
        }
        spots.sort_unstable_by_key(|spot| spot.addr.to_bits());
        let any = !spots.is_empty();
        self.spots = spots.into_iter();
        any
    }

    fn read_a_piece(&mut self) {
        let cache = self.cache;
        let spots = self.spots.as_slice();
        let segment_bytes = cache.files.geometry.segment_bytes;
        let piece = spots[..together(spots, segment_bytes)].to_vec();
        self.spots.nth(piece.len() - 1);
        let keys = cache.keys_at(&piece).into_iter();
        let keys = keys.filter_map(|key| match key {
            Ok(key) => Some(key),
            Err(why) => {
                cache.counters.missed(&why);
                None
            }
        });
        self.ready = keys.collect::<Vec<_>>().into_iter();
    }
}

impl Iterator for ReadOnlyKeys<'_> {
    type Item = Box<[u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(key) = self.ready.next() {
                return Some(key);
            }
            if !self.spots.as_slice().is_empty() {
                self.read_a_piece();
            } else if !self.next_shards() {
                return None;
            }
        }
    }
}

impl ReadOnlyCache {
    /// The keys at these places of one segment, which are read [together].
    fn keys_at(&self, spots: &[Spot]) -> Vec<Read<Box<[u8]>>> {
        let offset = |spot: &Spot| {
            spot.addr
                .position()
                .offset(self.files.geometry.segment_bytes)
        };
        let begin = spots.first().map_or(0, offset);
        let end = spots
            .last()
            .map_or(0, |last| offset(last) + head_bytes(last.class));
        let read =
            |segment: &ChainSegment| self.files.read(segment, begin, to_usize(end - begin)).ok();
        let segment = spots.first().and_then(|spot| self.files.segment(spot.addr));
        let bytes = segment.and_then(read).unwrap_or_default();
        let each = spots.iter().map(|spot| {
            let at = offset(spot);
            let frame = bytes.get(to_usize(at - begin)..).unwrap_or(&[]);
            let seed = segment.ok_or(Missed::Absent)?.header.seed_at(at);
            match FrameHeader::decode(frame, seed, at) {
                Ok(header) if frame.len() >= key_end(&header) => self.key_of(spot, &header, frame),
                _ => self.key_alone(spot),
            }
        });
        each.collect()
    }

    /// By a read of its own: it may lie in the tail only, or be long.
    fn key_alone(&self, spot: &Spot) -> Read<Box<[u8]>> {
        let longest = to_usize(HEADER_BYTES) + MAX_KEY_BYTES;
        let (header, frame) = self.files.head(spot, longest)?;
        self.key_of(spot, &header, &frame)
    }

    /// The header proves itself, and the key by its hash.
    fn key_of(&self, spot: &Spot, header: &FrameHeader, frame: &[u8]) -> Read<Box<[u8]>> {
        let key = frame.get(to_usize(HEADER_BYTES)..key_end(header));
        let key = key.ok_or(Missed::Damaged)?;
        let ours = matches!(header.kind, FrameKind::Put | FrameKind::Extent)
            && self.index.identity(header.hash) == spot.identity
            && hash_of(key, self.hash_seed) == header.hash;
        match ours {
            true if self.has_ended(header) => Err(Missed::Absent),
            true => Ok(key.into()),
            false => Err(Missed::Damaged),
        }
    }
}

fn key_end(header: &FrameHeader) -> usize {
    to_usize(HEADER_BYTES) + usize::from(header.key_bytes)
}
