//! The body of an answer: what was read already, and the rest while it is read.

use std::ops::Range;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use perennial::blocks::{AsyncBlockCache, Head, ReadOptions};

use super::errors::failed;
use super::object_store::path::Path;
use super::object_store::{Error, Result};

/// So much is read at a time.
pub(super) const WINDOW_BYTES: u64 = 4 << 20;

/// So many windows are read next to each other in time: the one that is waited for, and those ahead.
const WINDOWS: usize = 4;

/// The pieces, then the rest of the same version in windows. It ends with the first error.
pub(super) fn stream(
    blocks: &AsyncBlockCache,
    location: &Path,
    head: &Head,
    pieces: Vec<Bytes>,
    rest: Range<u64>,
) -> BoxStream<'static, Result<Bytes>> {
    let read = stream::iter(pieces.into_iter().map(Ok::<_, Error>));
    if rest.is_empty() {
        return read.boxed();
    }
    let (blocks, location, head) = (blocks.clone(), location.clone(), head.clone());
    let windows = stream::iter(cut(rest))
        .map(move |window| {
            let (blocks, location, head) = (blocks.clone(), location.clone(), head.clone());
            async move {
                let reading = ReadOptions::new();
                let pieces = blocks.pieces_of(location.as_ref(), &head, window, &reading);
                pieces.await.map_err(failed)
            }
        })
        .buffered(WINDOWS)
        .map_ok(|pieces| stream::iter(pieces.into_iter().map(Ok::<_, Error>)))
        .try_flatten()
        .boxed();
    // Whoever reads on behind an error is not to be given what is behind a gap.
    let until_error = stream::try_unfold(windows, |mut windows| async move {
        let next = windows.try_next().await?;
        Ok::<_, Error>(next.map(|bytes| (bytes, windows)))
    });
    read.chain(until_error).boxed()
}

/// The range in windows that begin at multiples of their size, but the first: so blocks are not cut.
fn cut(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let mut next = range.start;
    std::iter::from_fn(move || {
        let start = next;
        next = (start / WINDOW_BYTES + 1)
            .saturating_mul(WINDOW_BYTES)
            .min(range.end);
        (start < range.end).then_some(start..next)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_the_range_and_no_block_is_cut() {
        let cut = |range| cut(range).collect::<Vec<_>>();
        assert!(cut(7..7).is_empty());
        assert_eq!(cut(7..9), [Range { start: 7, end: 9 }]);
        let w = WINDOW_BYTES;
        assert_eq!(cut(7..2 * w + 1), [7..w, w..2 * w, 2 * w..2 * w + 1]);
        assert_eq!(cut(w..3 * w), [w..2 * w, 2 * w..3 * w]);
        let end = u64::MAX;
        assert_eq!(
            cut(end - 5..end),
            [Range {
                start: end - 5,
                end
            }]
        );
    }
}
