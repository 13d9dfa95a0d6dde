//! Spans: what a thread is in the middle of, for whoever looks at it from outside.
//!
//! Something that takes several calls, and must hold wherever it is cut short, is a span: a merge, a resize. The
//! [lab](crate::lab) counts the crash states that lie inside one, and a test can step in there. Beginning and ending one
//! costs a store to the thread's own memory.

use std::cell::Cell;
use std::marker::PhantomData;

thread_local! {
    static OPEN: Cell<u32> = const { Cell::new(0) };
}

/// A span of this thread; it ends when this is dropped.
#[derive(Debug)]
#[must_use = "it ends when this is dropped"]
pub struct Span(PhantomData<*const ()>);

impl Span {
    /// Begins one. They may lie within each other.
    pub fn begin() -> Self {
        OPEN.set(OPEN.get() + 1);
        Self(PhantomData)
    }

    /// True while this thread is inside of one.
    #[must_use]
    pub fn is_inside() -> bool {
        OPEN.get() > 0
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        OPEN.set(OPEN.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_inside_until_the_outermost_ends() {
        assert!(!Span::is_inside());
        {
            let _outer = Span::begin();
            drop(Span::begin());
            assert!(Span::is_inside());
            std::thread::scope(|s| s.spawn(|| assert!(!Span::is_inside())).join())
                .expect("another thread is in none");
        }
        assert!(!Span::is_inside());
        let unwound = std::panic::catch_unwind(|| {
            let _span = Span::begin();
            panic!("it ends by unwinding, too");
        });
        assert!(unwound.is_err() && !Span::is_inside());
    }
}
