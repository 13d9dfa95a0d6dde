//! Listing the keys, in no order.
//!
//! ```text
//!   shards, as many as fit ─ image ─► places, in their order ─ header and key, piece by piece ─► keys
//!                                         └─ not there any more: looked up again
//! ```
//! A key has its entry in one shard of the index, and of each shard one image is taken, under its lock. So a key that is
//! there at that moment is found once, whatever reclaim moves from one segment to another meanwhile: where an entry's bytes
//! are no longer where the image says, the index says where they are now. Going through the segments instead would need to
//! be told of each move, and of each large value whose reference lies in a later segment.

use std::vec;

use perennial_wal::{Addr, may_wait};

use crate::engine::Engine;
use crate::error::Result;
use crate::heads::{Head, InTail, Spot, together};

/// So many entries are imaged together, if a single shard has not more: 24 bytes each. Of each group of shards all segments
/// are read once.
const TOGETHER: usize = 1 << 20;
/// Looks at a key whose entry keeps moving.
const LOOKS: usize = 64;

/// The keys of a cache, in no order; see [`Cache::keys`](crate::Cache::keys).
#[derive(Debug)]
pub struct Keys<'a>(pub(crate) Listing<'a>);

impl Iterator for Keys<'_> {
    type Item = Result<Box<[u8]>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.0.next()? {
                Ok(Found::Key(key)) => return Some(Ok(key)),
                Ok(Found::Ended(_) | Found::Unknown(..)) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// What an entry of the index turned out to be.
#[derive(Debug)]
pub(crate) enum Found {
    Key(Box<[u8]>),
    /// Its time is over, and nobody has seen that yet: the log does not say so.
    Ended(Box<[u8]>),
    /// Of an entry of this identity, which lies here: the bytes that are there do not prove themselves.
    Unknown(u64, Addr),
}

/// Every entry once.
pub(crate) struct Listing<'a> {
    engine: &'a Engine,
    /// Shards imaged so far.
    shards: usize,
    spots: vec::IntoIter<Spot>,
    ready: vec::IntoIter<Result<Found>>,
    closed: bool,
}

impl std::fmt::Debug for Listing<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listing")
            .field("shards", &self.shards)
            .finish_non_exhaustive()
    }
}

impl Engine {
    pub(crate) fn list(&self) -> Listing<'_> {
        Listing {
            engine: self,
            shards: 0,
            spots: Vec::new().into_iter(),
            ready: Vec::new().into_iter(),
            closed: false,
        }
    }
}

impl Iterator for Listing<'_> {
    type Item = Result<Found>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.closed {
                return None;
            }
            if let Some(found) = self.ready.next() {
                return Some(found);
            }
            if let Err(error) = self.engine.check_open() {
                self.closed = true;
                return Some(Err(error));
            }
            if !self.spots.as_slice().is_empty() {
                self.read_a_piece();
            } else if !self.image_shards() {
                return None;
            }
        }
    }
}

impl Listing<'_> {
    /// Images of the next shards. False: there are no more.
    fn image_shards(&mut self) -> bool {
        let engine = self.engine;
        let mut spots = Vec::new();
        let mut image = Vec::new();
        let mut largest = 0;
        while self.shards < engine.index.shards() && spots.len() + largest <= TOGETHER {
            let live = |addr| engine.is_live(addr);
            engine.index.image(self.shards, &live, &mut image);
            largest = largest.max(image.len());
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
        any || self.shards < engine.index.shards()
    }

    fn read_a_piece(&mut self) {
        perennial_failpoints::site!("keys::piece");
        let engine = self.engine;
        let spots = self.spots.as_slice();
        let segment_bytes = engine.log.geometry().segment_bytes;
        let piece = spots[..together(spots, segment_bytes)].to_vec();
        self.spots.nth(piece.len() - 1);
        let first = piece[0].addr.position();
        // What is not in its file yet proves nothing there, and is looked up.
        let segment = engine.log.store().get(first.segment(segment_bytes));
        let heads = segment.map(|segment| engine.heads(&segment, &piece));
        let mut heads = heads.unwrap_or_default().into_iter();
        let mut ready = Vec::with_capacity(piece.len());
        for spot in &piece {
            let head = heads.next().flatten();
            ready.extend(match head {
                Some(head) => Some(Ok(engine.found(head))),
                None => engine.find_key(spot.identity).transpose(),
            });
        }
        self.ready = ready.into_iter();
    }
}

impl Engine {
    fn found(&self, head: Head) -> Found {
        if self.expired(&head.header) {
            Found::Ended(head.key)
        } else {
            Found::Key(head.key)
        }
    }

    /// The key of this identity, wherever its entry is now. `None`: there is no entry any more.
    fn find_key(&self, identity: u64) -> Result<Option<Found>> {
        let hash = self.index.hash_of(identity);
        let segment_bytes = self.log.geometry().segment_bytes;
        let mut unproved = None;
        let mut looks = 0;
        loop {
            let entry = self.index.get(hash);
            let Some(entry) = entry.filter(|entry| self.is_live(entry.addr)) else {
                return Ok(None);
            };
            let spot = Spot {
                identity,
                addr: entry.addr,
                class: entry.size_class,
            };
            match self.head_in_tail(identity, &entry) {
                InTail::Head(head) => return Ok(Some(self.found(head))),
                InTail::Pending => {
                    // For ever, if this thread is the one that writes it. Then it is not there yet.
                    if may_wait().is_err() {
                        return Ok(None);
                    }
                    crate::sync::yield_now();
                    continue;
                }
                InTail::Elsewhere => {}
            }
            let segment = entry.addr.position().segment(segment_bytes);
            let segment = self.log.store().get(segment);
            let again = unproved == Some(entry.addr) || looks == LOOKS;
            let head = match segment {
                None => None,
                Some(segment) if again => self.head_again(&segment, &spot)?,
                Some(segment) => self.heads(&segment, &[spot]).pop().flatten(),
            };
            if let Some(head) = head {
                return Ok(Some(self.found(head)));
            }
            if again {
                self.counters.damaged_reads.add(1);
                return Ok(Some(Found::Unknown(identity, entry.addr)));
            }
            unproved = Some(entry.addr);
            looks += 1;
        }
    }
}
