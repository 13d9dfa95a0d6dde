//! Tasks that are dropped while the origin is asked: so is what they asked for.

use std::future::pending;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use perennial::blocks::{
    AsyncBlockCache, AsyncOrigin, Head, Opened, Origin, OriginResult, ReadOptions, Version,
};

use crate::source::{Source, until};
use crate::{BLOCK, roomy, small_blocks};

/// Does not answer the next so many times.
struct Silent {
    source: Source,
    silences: AtomicU64,
    heard: AtomicU64,
}

impl Silent {
    async fn hear(&self) {
        self.heard.fetch_add(1, Ordering::SeqCst);
        let less = |n: u64| n.checked_sub(1);
        let (set, fetch) = (Ordering::SeqCst, Ordering::SeqCst);
        if self.silences.fetch_update(set, fetch, less).is_ok() {
            pending::<()>().await;
        }
    }
}

impl AsyncOrigin for Silent {
    fn identity(&self) -> String {
        self.source.identity()
    }

    async fn head(&self, object: &str) -> OriginResult<Head> {
        self.hear().await;
        Origin::head(&self.source, object)
    }

    async fn open_at(
        &self,
        object: &str,
        range: Range<u64>,
        options: &ReadOptions,
    ) -> OriginResult<Opened> {
        self.hear().await;
        self.source.open_at(object, range, options)
    }

    async fn read_at(
        &self,
        object: &str,
        version: &Version,
        range: Range<u64>,
        options: &ReadOptions,
    ) -> OriginResult<Bytes> {
        self.hear().await;
        let mut buf = vec![0; usize::try_from(range.end - range.start).unwrap()];
        Origin::read_at(
            &self.source,
            object,
            version,
            range.start,
            &mut buf,
            options,
        )?;
        Ok(buf.into())
    }
}

/// Its only thread does not wait for an answer that nobody waits for.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_dropped_task_asked_for_is_dropped() {
    for remember in [false, true] {
        for known in [false, true] {
            let origin = Arc::new(Silent {
                source: Source::new(8 * BLOCK),
                silences: AtomicU64::new(0),
                heard: AtomicU64::new(0),
            });
            let options = small_blocks().fetch_threads(1).remember_heads(remember);
            let blocks = AsyncBlockCache::new(roomy(), Arc::clone(&origin), options).unwrap();
            if known {
                blocks.head("object", &ReadOptions::new()).await.unwrap();
            }
            let before = origin.heard.load(Ordering::SeqCst);
            origin.silences.store(1, Ordering::SeqCst);
            let reader = tokio::spawn({
                let blocks = blocks.clone();
                async move { blocks.read("object", 0..BLOCK, &ReadOptions::new()).await }
            });
            tokio::task::block_in_place(|| {
                until(|| origin.heard.load(Ordering::SeqCst) > before);
            });
            reader.abort();
            assert!(reader.await.unwrap_err().is_cancelled());
            for object in ["object", "other"] {
                let options = ReadOptions::new();
                let read = blocks.read(object, 5..10, &options);
                let read = tokio::time::timeout(Duration::from_secs(60), read).await;
                let (_, bytes) = read.expect("nothing is in the way").unwrap();
                assert_eq!(bytes, origin.source.bytes(object, 1, 5..10));
            }
            tokio::task::block_in_place(|| until(|| blocks.stats().in_flight == 0));
            let stats = blocks.stats();
            assert_eq!(stats.unwanted_fetches, 1, "{remember}, {known}");
            assert_eq!((stats.origin_failures, stats.head_failures), (0, 0));
        }
    }
}
