//! Reading an object, or a range of it.

use std::ops::Range;

use bytes::Bytes;
use perennial::blocks::{Head, ReadOptions, Revalidate};

use super::errors::{Stopped, generic, may_be_of_the_range};
use super::known::{Known, version_in};
use super::object_store::path::Path;
use super::object_store::{Error, GetOptions, GetRange, GetResult, GetResultPayload, Result};
use super::windows::WINDOW_BYTES;
use super::{Shared, get_result, is_cacheable, windows};

/// A range of so many bytes is read before the answer is given; of a longer one the first window, and the rest while it is read.
pub(super) const AT_ONCE_BYTES: u64 = 8 << 20;

/// Times that a read begins anew because the object has changed.
const TRIES: usize = 8;

impl Shared {
    pub(super) async fn get(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        // One that was replaced, perhaps: that is not what is remembered.
        if options.version.is_some() || !is_cacheable(location) {
            return self.inner.get_opts(location, options).await;
        }
        let mut tries = self.tries();
        let ended = loop {
            match self.get_once(location, &options, &tries.reading).await {
                Err(Stopped::Stale(_)) if tries.again() => {}
                ended => break ended.map_err(Stopped::told),
            }
        };
        match ended {
            // The ranges are ours: the caller has asked for none, and the store need not have any. Once it has given one, it has.
            Err(error)
                if options.range.is_none()
                    && !options.head
                    && !self.kinds.has_ranges()
                    && may_be_of_the_range(&error) =>
            {
                self.inner.get_opts(location, options).await
            }
            ended => ended,
        }
    }

    pub(super) fn tries(&self) -> Tries {
        Tries {
            reading: ReadOptions::new().revalidate(self.policy.revalidate()),
            left: TRIES,
        }
    }

    async fn get_once(
        &self,
        location: &Path,
        options: &GetOptions,
        reading: &ReadOptions,
    ) -> Result<GetResult, Stopped> {
        let first = first_range(options);
        let (known, mut pieces) = match first.clone() {
            Some(first) => self.open(location, first, reading).await?,
            None => (self.known(location, reading).await?, Vec::new()),
        };
        match options.check_preconditions(&known.meta) {
            Err(Error::Precondition { .. }) if reading.revalidate != Revalidate::Always => {
                return Ok(self.asked_below(location, options, &known).await?);
            }
            met => met?,
        }
        let range = range_of(options.range.as_ref(), known.head.len)?;
        let mut read = first.map_or(range.start, |first| first.end.min(range.end));
        if options.head {
            read = range.end;
        } else if read == range.start && range.end - range.start <= AT_ONCE_BYTES {
            pieces = self.pieces_of(location, &known.head, range.clone()).await?;
            read = range.end;
        }
        let rest = read..range.end;
        let stream = windows::stream(&self.blocks, location, &known.head, pieces, rest);
        let payload = GetResultPayload::Stream(stream);
        Ok(get_result(known.meta, range, known.attributes, payload))
    }

    /// What is known of an object, and bytes of it: where nothing was known, by one request.
    pub(super) async fn open(
        &self,
        location: &Path,
        range: Range<u64>,
        reading: &ReadOptions,
    ) -> Result<(Known, Vec<Bytes>), Stopped> {
        let (head, pieces) = self.blocks.open(location.as_ref(), range, reading).await?;
        Ok((Known::of(location, head)?, pieces))
    }

    pub(super) async fn known(
        &self,
        location: &Path,
        reading: &ReadOptions,
    ) -> Result<Known, Stopped> {
        let head = self.blocks.head(location.as_ref(), reading).await?;
        Known::of(location, head)
    }

    /// The range of exactly this version.
    pub(super) async fn pieces_of(
        &self,
        location: &Path,
        head: &Head,
        range: Range<u64>,
    ) -> Result<Vec<Bytes>, Stopped> {
        let reading = ReadOptions::new();
        let pieces = self
            .blocks
            .pieces_of(location.as_ref(), head, range, &reading);
        Ok(pieces.await?)
    }

    /// The caller may have heard of a newer version than what is remembered, from a listing say: it is not to be refused by us.
    async fn asked_below(
        &self,
        location: &Path,
        options: &GetOptions,
        known: &Known,
    ) -> Result<GetResult> {
        let found = self.inner.get_opts(location, options.clone()).await?;
        if version_in(&found.meta) == known.head.version {
            return Ok(found);
        }
        if let Err(error) = self.blocks.forget(location.as_ref()).await {
            tracing::debug!(%error, "the cache cannot forget an object that was overwritten by others");
        }
        Ok(found)
    }
}

/// How to read: first as old as the policy allows, and where the object turns out to be another, as it is now.
pub(super) struct Tries {
    pub(super) reading: ReadOptions,
    left: usize,
}

impl Tries {
    /// Whether there is one more.
    pub(super) fn again(&mut self) -> bool {
        self.reading.revalidate = Revalidate::Always;
        self.left -= 1;
        self.left > 0
    }
}

/// What can be asked for before anything is known of the object; nothing where that would be in vain, or cannot be said.
fn first_range(options: &GetOptions) -> Option<Range<u64>> {
    if options.head || is_conditional(options) {
        return None;
    }
    let window = |start: u64| start..start.saturating_add(WINDOW_BYTES);
    match &options.range {
        None => Some(window(0)),
        Some(GetRange::Offset(start)) => Some(window(*start)),
        Some(GetRange::Bounded(range)) => {
            let bytes = range.end.checked_sub(range.start)?;
            let first = if bytes <= AT_ONCE_BYTES {
                range.clone()
            } else {
                window(range.start)
            };
            (bytes > 0).then_some(first)
        }
        Some(GetRange::Suffix(_)) => None,
    }
}

fn is_conditional(options: &GetOptions) -> bool {
    options.if_match.is_some()
        || options.if_none_match.is_some()
        || options.if_modified_since.is_some()
        || options.if_unmodified_since.is_some()
}

/// Where a range lies in an object of so many bytes; refused as the stores of object_store refuse it.
pub(super) fn range_of(range: Option<&GetRange>, len: u64) -> Result<Range<u64>> {
    range.map_or(Ok(0..len), |range| range.as_range(len).map_err(generic))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(range: impl Into<GetRange>) -> Option<Range<u64>> {
        first_range(&GetOptions {
            range: Some(range.into()),
            ..GetOptions::default()
        })
    }

    #[test]
    fn as_much_is_asked_for_as_can_be_known_to_be_wanted() {
        assert_eq!(first(5..9), Some(5..9));
        assert_eq!(first(7..7 + AT_ONCE_BYTES), Some(7..7 + AT_ONCE_BYTES));
        assert_eq!(first(7..8 + AT_ONCE_BYTES), Some(7..7 + WINDOW_BYTES));
        assert_eq!(first(3..), Some(3..3 + WINDOW_BYTES));
        assert_eq!(first(u64::MAX..), Some(u64::MAX..u64::MAX));
        assert_eq!(first_range(&GetOptions::default()), Some(0..WINDOW_BYTES));
    }

    #[test]
    fn nothing_is_asked_for_blindly() {
        assert_eq!(first(GetRange::Suffix(5)), None);
        assert_eq!(first(5..5), None);
        assert_eq!(first(GetRange::Bounded(Range { start: 6, end: 5 })), None);
        let head = GetOptions {
            head: true,
            ..GetOptions::default()
        };
        let conditional = GetOptions {
            if_match: Some("*".into()),
            ..GetOptions::default()
        };
        assert_eq!(
            (first_range(&head), first_range(&conditional)),
            (None, None)
        );
    }
}
