//! Planted bugs: mutants of the code under test, kept beside it, to learn whether the tests would notice.
//!
//! `planted!("name")` is `false` and costs nothing, unless the feature `planted-bugs` is on *and* the thread that asks has
//! chosen that name with [`with`](planted::with). By thread, so that mutants can be tested side by side.

/// True where the mutant of this name was chosen; without the feature `planted-bugs` it is `false`.
#[cfg(feature = "planted-bugs")]
#[macro_export]
macro_rules! planted {
    ($name:literal) => {
        $crate::planted::is_chosen($name)
    };
}

/// True where the mutant of this name was chosen; without the feature `planted-bugs`, as here, it is `false`.
#[cfg(not(feature = "planted-bugs"))]
#[macro_export]
macro_rules! planted {
    ($name:literal) => {
        $crate::no_mutant()
    };
}

/// What [`planted!`](crate::planted!) is without the feature. A call, for lints have something to say about a literal.
#[doc(hidden)]
#[must_use]
#[inline(always)]
#[cfg(not(feature = "planted-bugs"))]
pub const fn no_mutant() -> bool {
    false
}

/// Which mutants a thread has chosen.
#[cfg(feature = "planted-bugs")]
pub mod planted {
    use std::cell::Cell;

    thread_local! {
        static CHOSEN: Cell<&'static [&'static str]> = const { Cell::new(&[]) };
    }

    /// True where this thread has chosen `name`.
    #[must_use]
    pub fn is_chosen(name: &str) -> bool {
        CHOSEN.get().contains(&name)
    }

    /// What this thread has chosen, for a thread that it starts.
    #[must_use]
    pub fn chosen() -> &'static [&'static str] {
        CHOSEN.get()
    }

    /// Runs `body` with these mutants, on this thread.
    pub fn with<T>(names: &'static [&'static str], body: impl FnOnce() -> T) -> T {
        struct Before(&'static [&'static str]);
        // On unwinding too: a mutant may well panic.
        impl Drop for Before {
            fn drop(&mut self) {
                CHOSEN.set(self.0);
            }
        }
        let _before = Before(CHOSEN.replace(names));
        body()
    }
}

#[cfg(test)]
mod tests {
    #[cfg(feature = "planted-bugs")]
    #[test]
    fn a_mutant_lives_where_it_was_chosen_and_no_longer() {
        use crate::planted::with;
        let died = std::panic::catch_unwind(|| {
            with(&["one"], || {
                assert!(crate::planted!("one") && !crate::planted!("other"));
                std::thread::scope(|s| s.spawn(|| assert!(!crate::planted!("one"))).join())
                    .expect("another thread has none");
                panic!("it dies");
            })
        });
        assert!(died.is_err() && !crate::planted!("one"));
    }

    #[cfg(not(feature = "planted-bugs"))]
    #[test]
    fn without_the_feature_there_are_no_mutants() {
        const NONE: bool = crate::planted!("one");
        const { assert!(!NONE) };
    }
}
