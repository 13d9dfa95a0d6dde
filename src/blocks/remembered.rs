//! Version and length of an object, kept in the cache for the next life.
//!
//! ```text
//!  bytes   what                                   key: that of the object's blocks, up to the version, then FF FF, which
//!  1       form: 1                                     is no version's length
//!  8       when it was asked for, milliseconds since 1970 ┐
//!  8       bytes of the object                            │ little-endian
//!  2       n                                              ┘
//!  n       version
//!  rest    what else the origin says of it
//! ```

use std::sync::Arc;

use bytes::Bytes;

use crate::blocks::heads::Known;
use crate::blocks::key::of_object;
use crate::blocks::origin::{Head, Version};
use crate::blocks::request::Revalidate;
use crate::blocks::shared::Shared;
use crate::blocks::work::Work;
use crate::error::Result;
use crate::fetch::Stake;
use crate::value::{Inserted, Rejection};

const FORM: u8 = 1;
/// More than this is not worth its room.
const ABOUT_BYTES: usize = 4 << 10;

/// What an earlier life knew of an object.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Remembered {
    pub(super) head: Head,
    /// How old it was at `now_ns`.
    pub(super) age_ns: u64,
    pub(super) now_ns: u64,
}

/// A head for which there was no room yet. What is removed meanwhile, by whomever, takes out the stake.
#[derive(Debug)]
pub(super) struct Unkept {
    stake: Stake,
    value: Vec<u8>,
}

fn encode(head: &Head, asked_ms: u64) -> Option<Vec<u8>> {
    let version = head.version.as_bytes();
    let version_len = u16::try_from(version.len()).ok()?;
    if head.about.len() > ABOUT_BYTES {
        return None;
    }
    let mut value = vec![FORM];
    value.extend(asked_ms.to_le_bytes());
    value.extend(head.len.to_le_bytes());
    value.extend(version_len.to_le_bytes());
    value.extend(version);
    value.extend(&head.about);
    Some(value)
}

fn decode(value: &Bytes) -> Option<(Head, u64)> {
    let (form, rest) = value.split_first()?;
    let (asked_ms, rest) = rest.split_first_chunk()?;
    let (len, rest) = rest.split_first_chunk()?;
    let (version_len, rest) = rest.split_first_chunk()?;
    let version_len = usize::from(u16::from_le_bytes(*version_len));
    let (version, about) = rest.split_at_checked(version_len)?;
    let head = Head::new(Version::from(version), u64::from_le_bytes(*len));
    let asked_ms = u64::from_le_bytes(*asked_ms);
    (*form == FORM).then(|| (head.about(value.slice_ref(about)), asked_ms))
}

impl Shared {
    /// Whether to look for what an earlier life knew.
    pub(super) fn recalls(&self, known: &Known) -> bool {
        self.plan.remember && known.is_new()
    }

    /// Where an object's head is kept, if it is.
    pub(super) fn remembered_key(&self, object: &str) -> Option<Vec<u8>> {
        let mut key = of_object(&self.identity, object).ok()?;
        key.extend([0xFF; 2]);
        self.plan.remember.then_some(key)
    }

    /// What an earlier life knew, if the cache has it.
    pub(super) fn remembered(&self, object: &str) -> Option<Remembered> {
        let found = self.cache.get(self.remembered_key(object)?).ok()??;
        self.as_remembered(&found.into_bytes())
    }

    pub(super) fn as_remembered(&self, value: &Bytes) -> Option<Remembered> {
        let (head, asked_ms) = decode(value)?;
        // From the future: nobody knows how old it is.
        let age_ms = self.wall_ms().checked_sub(asked_ms).unwrap_or(u64::MAX);
        Some(Remembered {
            head,
            age_ns: age_ms.saturating_mul(1_000_000),
            now_ns: self.now_ns(),
        })
    }

    /// Keeps a head, unless something was removed since the stake was taken. What there is no room for is given back; what cannot be
    /// remembered at all is asked for again.
    pub(super) fn remember(
        &self,
        object: &str,
        stake: Stake,
        head: &Head,
        asked_ms: u64,
    ) -> Option<Unkept> {
        let known = self.heads.of(object);
        let engine = self.cache.engine();
        if !known.is_worth_keeping(head, self.now_ns()) && engine.visit(stake.key()) {
            return None;
        }
        let value = encode(head, asked_ms)?;
        if perennial_failpoints::planted!("head-remembered-anyway") {
            self.cache.insert(stake.key(), value).ok();
            return None;
        }
        self.keep_head(&known, Unkept { stake, value }, true)
    }

    /// Nobody waits for it any more: it waits for room, as blocks do, but on the last thread, which is left to the readers.
    pub(super) fn remember_late(self: &Arc<Self>, object: &Arc<str>, unkept: Unkept) {
        if !self.keep_patiently(object, unkept) {
            // Without it all of the object's blocks are of no use to the next life: who waits for room keeps it next.
            self.heads.has_no_room(object);
            self.do_some_time(Work::Remember(Arc::clone(object)));
        }
    }

    /// By who has waited for room already, and may go on.
    pub(super) fn remember_waiting(&self) {
        for object in self.heads.without_room() {
            let known = self.heads.of(&object);
            if let Some(unkept) = known.take_unkept() {
                let unkept = self.keep_head(&known, unkept, false);
                known.is_unkept(unkept);
            }
        }
    }

    /// False: it is to be tried again, at the latest when it has been used so many times.
    fn keep_patiently(&self, object: &str, unkept: Unkept) -> bool {
        let patience = self.patience();
        let known = self.heads.of(object);
        let unkept = self.keep_head(&known, unkept, !patience.may_wait);
        let kept = unkept.is_none();
        known.is_unkept(unkept);
        kept
    }

    fn keep_head(&self, known: &Known, unkept: Unkept, at_once: bool) -> Option<Unkept> {
        let kept = unkept.stake.keep(&unkept.value, at_once);
        let stored = matches!(kept, Ok(Inserted::Stored));
        known.was_kept(stored.then(|| self.now_ns()));
        matches!(kept, Ok(Inserted::Rejected(Rejection::Busy))).then_some(unkept)
    }

    /// What is remembered, in memory, and new enough. Now and then its entry is visited like the blocks that are read by it, so that it is not
    /// evicted before them; and kept, if there was no room before.
    pub(super) fn known_head(
        self: &Arc<Self>,
        object: &str,
        known: &Known,
        revalidate: Revalidate,
    ) -> Option<Head> {
        let head = known.fresh(revalidate, self.now_ns())?;
        if self.plan.remember && known.is_to_be_visited() {
            if known.has_unkept() {
                self.do_some_time(Work::Remember(object.into()));
            } else if let Some(key) = self.remembered_key(object) {
                self.cache.engine().visit(&key);
            }
        }
        Some(head)
    }

    /// Tries once more, on a thread that has the time.
    pub(super) fn remember_again(&self, object: &str) {
        let known = self.heads.of(object);
        if let Some(unkept) = known.take_unkept() {
            self.keep_patiently(object, unkept);
        }
    }

    /// A version was replaced: what is remembered of it is no use, if the new one could not be kept.
    pub(super) fn forget_remembered(&self, object: &str, old: &Head) -> Result<()> {
        let Some(key) = self.remembered_key(object) else {
            return Ok(());
        };
        if self
            .remembered(object)
            .is_some_and(|found| found.head == *old)
        {
            self.cache.remove(key)?;
        }
        Ok(())
    }

    pub(super) fn wall_ms(&self) -> u64 {
        let engine = self.cache.engine();
        engine.clock.now_ms(&*engine.fs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_as_it_was_written() {
        let head = Head::new("etag", 1 << 40).about(&b"more"[..]);
        let value = Bytes::from(encode(&head, 77).expect("it can be kept"));
        let (read, asked_ms) = decode(&value).expect("it can be read");
        assert_eq!((&read, &read.about, asked_ms), (&head, &head.about, 77));
        for cut in 0..value.len() - 4 {
            assert_eq!(decode(&value.slice(..cut)), None, "{cut}");
        }
        let mut other = value.to_vec();
        other[0] = 2;
        assert_eq!(decode(&other.into()), None);
    }

    #[test]
    fn what_is_too_large_is_not_remembered() {
        let head = Head::new("v", 1).about(vec![0; ABOUT_BYTES + 1]);
        assert_eq!(encode(&head, 0), None);
    }
}
