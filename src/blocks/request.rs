//! What a caller may say of one read.

use std::time::Duration;

use crate::blocks::wait::Cancel;

/// Whose turn it is when there are more fetches than threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub enum Priority {
    /// Somebody waits for the bytes.
    #[default]
    Foreground,
    /// Somebody probably will. It waits for whatever is of the foreground, and leaves that a thread.
    Readahead,
    /// Nobody is in a hurry: warming up. It waits for both.
    Background,
}

/// How old the version may be that a read is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Revalidate {
    /// As it was when it was first asked for: for objects that never change under their name. It is asked for once by each
    /// `BlockCache`, or once at all with [`remember_heads`](crate::blocks::BlockOptions::remember_heads); and again after
    /// [`invalidate`](crate::blocks::BlockCache::invalidate) or [`forget`](crate::blocks::BlockCache::forget), or when an origin notices a change.
    #[default]
    Never,
    /// It is asked for when the last answer is older than this, when the read begins.
    After(Duration),
    /// It is asked for after the read has begun.
    Always,
}

/// How to read: see [`BlockCache::read_at`](crate::blocks::BlockCache::read_at). An origin is given the same.
#[derive(Debug, Clone)]
#[non_exhaustive]
#[must_use]
pub struct ReadOptions {
    /// Whether the bytes that are fetched are kept. Default: true.
    pub populate: bool,
    /// Default: [`Priority::Foreground`].
    pub priority: Priority,
    /// Default: [`Revalidate::Never`].
    pub revalidate: Revalidate,
    /// Ends the read before it is done. Default: none. An origin is given none: others may wait for the same bytes.
    pub cancel: Option<Cancel>,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            populate: true,
            priority: Priority::Foreground,
            revalidate: Revalidate::Never,
            cancel: None,
        }
    }
}

impl ReadOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the bytes that are fetched are kept. Where another read waits for the same block, either is enough. Version and length are
    /// kept in any case, with [`remember_heads`](crate::blocks::BlockOptions::remember_heads). Default: true.
    pub fn populate(mut self, populate: bool) -> Self {
        self.populate = populate;
        self
    }

    /// Whose turn it is. Default: [`Priority::Foreground`].
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// How old the version may be. Default: [`Revalidate::Never`].
    pub fn revalidate(mut self, revalidate: Revalidate) -> Self {
        self.revalidate = revalidate;
        self
    }

    /// What ends the read early: it answers [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) then. Default: nothing.
    pub fn cancel(mut self, cancel: &Cancel) -> Self {
        self.cancel = Some(cancel.clone());
        self
    }

    /// The same for a fetch that others may come to wait for.
    pub(super) fn without_cancel(&self) -> Self {
        Self {
            cancel: None,
            ..self.clone()
        }
    }
}
