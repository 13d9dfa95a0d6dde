//! How old an answer is, and how old it may be.

use crate::blocks::request::Revalidate;

/// What an answer to a question about an object is as of. Nanoseconds of this life; what an earlier one asked for is below 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AsOf {
    /// The origin was not asked yet.
    Open,
    /// The origin was asked then.
    Asked(i128),
    /// The origin is not asked: it is what was known, and asked for then.
    Known(i128),
}

impl AsOf {
    /// Whether who comes now may have this answer.
    pub(super) fn is_since(self, since: Since) -> bool {
        match self {
            Self::Open => true,
            Self::Asked(ns) | Self::Known(ns) => ns >= since.0,
        }
    }

    /// The same for who came before the origin was asked.
    pub(super) fn was_since(self, since: Since) -> bool {
        matches!(self, Self::Asked(_)) || self.is_since(since)
    }
}

/// The earliest moment that an answer may be as of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Since(i128);

impl Since {
    pub(super) const EVER: Self = Self(i128::MIN);

    pub(super) fn of(revalidate: Revalidate, now_ns: u64) -> Self {
        Self(match revalidate {
            Revalidate::Never => i128::MIN,
            Revalidate::After(age) => {
                i128::from(now_ns) - i128::try_from(age.as_nanos()).unwrap_or(i128::MAX)
            }
            // A clock may stand still: what was asked before this moment and what is asked behind it is not told by it.
            Revalidate::Always => i128::MAX,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_answer_is_as_old_as_it_may_be() {
        let after = |ns, now| Since::of(Revalidate::After(Duration::from_nanos(ns)), now);
        assert!(AsOf::Asked(100).is_since(after(50, 150)));
        assert!(!AsOf::Asked(100).is_since(after(50, 151)));
        assert!(AsOf::Known(-90).is_since(after(100, 10)));
        assert!(!AsOf::Known(-91).is_since(after(100, 10)));
        for since in [Since::EVER, Since::of(Revalidate::Never, 7)] {
            assert!(AsOf::Known(i128::MIN).is_since(since));
        }
        let forever = Since::of(Revalidate::After(Duration::MAX), u64::MAX);
        assert!(AsOf::Known(-i128::from(u64::MAX)).is_since(forever));
    }

    #[test]
    fn what_is_asked_behind_the_read_is_new_enough_for_all() {
        let always = Since::of(Revalidate::Always, 10);
        assert!(AsOf::Open.is_since(always));
        assert!(!AsOf::Asked(10).is_since(always) && AsOf::Asked(10).was_since(always));
        assert!(!AsOf::Known(10).was_since(always));
    }
}
