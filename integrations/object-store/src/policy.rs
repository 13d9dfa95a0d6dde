//! How old what is known of an object may be.

use std::time::Duration;

use perennial::blocks::Revalidate;

/// How old what is known of an object may be when it is read: which version it has, how long it is, when it was changed, its attributes. Its
/// bytes are of that version in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum HeadPolicy {
    /// The store is asked after each read has begun, by a request for the head: whoever has overwritten the object, the read sees it.
    /// For objects that others overwrite.
    #[default]
    AlwaysRevalidate,
    /// The store is asked when its last answer is older than this: after a restart, too, by the wall clock then.
    Ttl(Duration),
    /// The store is asked once, and never again: not after a restart either. For objects that are not overwritten, or only
    /// through this store.
    Immutable,
}

impl HeadPolicy {
    pub(crate) fn revalidate(self) -> Revalidate {
        match self {
            Self::AlwaysRevalidate => Revalidate::Always,
            Self::Ttl(age) => Revalidate::After(age),
            Self::Immutable => Revalidate::Never,
        }
    }
}
