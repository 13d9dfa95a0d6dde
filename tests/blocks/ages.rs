//! How old an answer may be that somebody waits for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use perennial::blocks::{BlockCache, Head, Origin, OriginResult, ReadOptions, Revalidate, Version};

use crate::source::{Source, until};
use crate::{BLOCK, roomy, small_blocks};

/// Its next answer is as of when it was asked, and is given when it is let go.
struct Held {
    source: Arc<Source>,
    holds: AtomicBool,
}

impl Origin for Held {
    fn identity(&self) -> String {
        self.source.identity()
    }
    fn version(&self, object: &str) -> OriginResult<Version> {
        Origin::version(&self.source, object)
    }
    fn len(&self, object: &str) -> OriginResult<u64> {
        Origin::len(&self.source, object)
    }
    fn head(&self, object: &str) -> OriginResult<Head> {
        let head = Origin::head(&self.source, object);
        // Only the first is held up.
        if self.source.heads.load(Ordering::SeqCst) == 1 {
            until(|| !self.holds.load(Ordering::SeqCst));
        }
        head
    }
    fn read_at(
        &self,
        object: &str,
        version: &Version,
        offset: u64,
        buf: &mut [u8],
        options: &ReadOptions,
    ) -> OriginResult<usize> {
        self.source.read_at(object, version, offset, buf, options)
    }
}

/// A question that is under way is joined by who may have so old an answer.
#[test]
fn an_answer_that_is_waited_for_is_as_new_as_it_must_be() {
    for (remember, age, joins) in [
        (false, Duration::ZERO, false),
        (true, Duration::ZERO, true),
        (false, Duration::from_secs(3600), true),
        (true, Duration::from_secs(3600), true),
    ] {
        let source = Arc::new(Source::new(10 * BLOCK));
        let held = Held {
            source: Arc::clone(&source),
            holds: AtomicBool::new(true),
        };
        let held = Arc::new(held);
        let options = small_blocks().remember_heads(remember);
        let blocks = BlockCache::new(roomy(), Arc::clone(&held), options).unwrap();
        let after = ReadOptions::new().revalidate(Revalidate::After(age));
        thread::scope(|s| {
            let first = s.spawn(|| blocks.head("object", &after));
            until(|| source.heads.load(Ordering::SeqCst) == 1);
            source.change("object");
            let second = s.spawn(|| blocks.head("object", &after));
            if joins {
                until(|| blocks.stats().joined_heads == 1);
                held.holds.store(false, Ordering::SeqCst);
            }
            let expected = if age.is_zero() { 2 } else { 1 };
            let second = second.join().unwrap().unwrap();
            assert_eq!(second.version, expected.into(), "{remember}, {age:?}");
            held.holds.store(false, Ordering::SeqCst);
            assert_eq!(first.join().unwrap().unwrap().version, 1.into());
        });
        assert_eq!(blocks.stats().joined_heads, u64::from(joins));
    }
}
