//! Several ranges of one object, as a reader of Parquet asks for them.

use std::ops::Range;

use bytes::Bytes;
use futures_util::future::try_join_all;
use perennial::blocks::ReadOptions;

use super::errors::Stopped;
use super::get::{AT_ONCE_BYTES, range_of};
use super::object_store::path::Path;
use super::object_store::{GetRange, Result};
use super::{Shared, is_cacheable};

impl Shared {
    pub(super) async fn get_ranges(
        &self,
        location: &Path,
        ranges: &[Range<u64>],
    ) -> Result<Vec<Bytes>> {
        if !is_cacheable(location) {
            return self.inner.get_ranges(location, ranges).await;
        }
        if ranges.is_empty() {
            return Ok(Vec::new());
        }
        let mut tries = self.tries();
        loop {
            match self.ranges_once(location, ranges, &tries.reading).await {
                Err(Stopped::Stale(_)) if tries.again() => {}
                ended => return ended.map_err(Stopped::told),
            }
        }
    }

    async fn ranges_once(
        &self,
        location: &Path,
        ranges: &[Range<u64>],
        reading: &ReadOptions,
    ) -> Result<Vec<Bytes>, Stopped> {
        // What is one range can be asked for before anything is known of the object.
        if let Some(one) = the_one(ranges, self.gap_bytes_max) {
            let start = one.start;
            let (known, pieces) = self.open(location, one, reading).await?;
            let read = [Read::new(start, pieces)];
            return Ok(taken(&read, &within(ranges, known.head.len)?));
        }
        let known = self.known(location, reading).await?;
        let ranges = within(ranges, known.head.len)?;
        let reads = merged(&ranges, self.gap_bytes_max)
            .into_iter()
            .map(|range| {
                let (start, head) = (range.start, &known.head);
                async move {
                    let pieces = self.pieces_of(location, head, range).await?;
                    Ok::<_, Stopped>(Read::new(start, pieces))
                }
            });
        Ok(taken(&try_join_all(reads).await?, &ranges))
    }
}

/// The ranges as they lie in an object of so many bytes, or a refusal of the first that does not. Of none of its bytes there is nothing to
/// refuse: stores that are asked for one do, but not where they read neighbours as one.
fn within(ranges: &[Range<u64>], len: u64) -> Result<Vec<Range<u64>>> {
    let lies = |range: &Range<u64>| {
        if range.start == range.end && range.end <= len {
            return Ok(range.clone());
        }
        range_of(Some(&GetRange::Bounded(range.clone())), len)
    };
    ranges.iter().map(lies).collect()
}

/// All ranges as one, if they are near enough to each other, and it is short enough to be read at once.
fn the_one(ranges: &[Range<u64>], gap_bytes_max: u64) -> Option<Range<u64>> {
    let mut merged = merged(ranges, gap_bytes_max);
    let one = merged.pop().filter(|_| merged.is_empty())?;
    (one.end - one.start <= AT_ONCE_BYTES).then_some(one)
}

/// The ranges in order, neighbours as one, without those that are empty.
fn merged(ranges: &[Range<u64>], gap_bytes_max: u64) -> Vec<Range<u64>> {
    let mut sorted = ranges.to_vec();
    sorted.retain(|range| !range.is_empty());
    sorted.sort_unstable_by_key(|range| range.start);
    let mut merged: Vec<Range<u64>> = Vec::new();
    for range in sorted {
        match merged.last_mut() {
            Some(last) if range.start <= last.end.saturating_add(gap_bytes_max) => {
                last.end = last.end.max(range.end);
            }
            _ => merged.push(range),
        }
    }
    merged
}

/// A range that was read, in pieces.
struct Read {
    /// Where each piece begins in the object.
    starts: Vec<u64>,
    pieces: Vec<Bytes>,
}

impl Read {
    fn new(start: u64, pieces: Vec<Bytes>) -> Self {
        let mut next = start;
        let starts = pieces.iter().map(|piece| {
            let start = next;
            next += piece.len() as u64;
            start
        });
        Self {
            starts: starts.collect(),
            pieces,
        }
    }

    fn start(&self) -> u64 {
        self.starts.first().copied().unwrap_or(u64::MAX)
    }

    /// The bytes of a range that lies in it: without a copy where one piece has them all.
    fn take(&self, range: &Range<u64>) -> Bytes {
        let first = self.starts.partition_point(|start| *start <= range.start);
        let first = first.saturating_sub(1);
        let pieces = self.starts[first..].iter().zip(&self.pieces[first..]);
        let mut parts =
            pieces
                .take_while(|(start, _)| **start < range.end)
                .map(|(start, piece)| {
                    let from = to_usize(range.start.saturating_sub(*start)).min(piece.len());
                    let to = to_usize(range.end - start).min(piece.len());
                    piece.slice(from..to)
                });
        let one = parts.next().unwrap_or_default();
        let Some(two) = parts.next() else {
            return one;
        };
        let mut whole = Vec::with_capacity(to_usize(range.end - range.start));
        whole.extend_from_slice(&one);
        whole.extend_from_slice(&two);
        parts.for_each(|part| whole.extend_from_slice(&part));
        whole.into()
    }
}

/// Each range out of the reads, which are in order.
fn taken(reads: &[Read], ranges: &[Range<u64>]) -> Vec<Bytes> {
    let take = |range: &Range<u64>| {
        if range.is_empty() {
            return Bytes::new();
        }
        let behind = reads.partition_point(|read| read.start() <= range.start);
        let read = behind.checked_sub(1).map(|at| &reads[at]);
        read.map_or_else(Bytes::new, |read| read.take(range))
    };
    ranges.iter().map(take).collect()
}

/// This is for 64-bit systems.
fn to_usize(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_one() {
        let gaps = |ranges: &[Range<u64>], gap| merged(ranges, gap);
        let ranges = [30..40, 0..10, 12..14, 5..8];
        assert_eq!(gaps(&ranges, 0), [0..10, 12..14, 30..40]);
        assert_eq!(gaps(&ranges, 2), [0..14, 30..40]);
        assert_eq!(gaps(&ranges, u64::MAX), [Range { start: 0, end: 40 }]);
        assert_eq!(the_one(&ranges, 16), Some(0..40));
        assert_eq!(the_one(&ranges, 15), None);
        assert_eq!(the_one(&[3..3, 5..6], 0), Some(5..6));
        assert_eq!(the_one(&[3..3, 5..5], 16), None);
        assert_eq!(
            the_one(&[0..1, AT_ONCE_BYTES..AT_ONCE_BYTES + 1], u64::MAX),
            None
        );
    }

    #[test]
    fn ranges_are_taken_out_of_pieces() {
        let object: Vec<u8> = (0..=255).collect();
        let piece = |range: Range<usize>| Bytes::copy_from_slice(&object[range]);
        let reads = [
            Read::new(10, vec![piece(10..13), piece(13..14), piece(14..30)]),
            Read::new(100, vec![piece(100..200)]),
        ];
        for (start, end) in [
            (10, 30),
            (10, 11),
            (12, 15),
            (13, 14),
            (29, 30),
            (100, 200),
            (150, 151),
        ] {
            let range = start..end;
            let taken = taken(&reads, std::slice::from_ref(&range));
            let expected = &object[to_usize(start)..to_usize(end)];
            assert_eq!(taken, [Bytes::copy_from_slice(expected)], "{range:?}");
        }
    }
}
