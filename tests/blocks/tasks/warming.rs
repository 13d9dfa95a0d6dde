//! Warming up by tasks.

use std::future::Future;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use perennial::blocks::{
    AsyncBlockCache, AsyncOrigin, Head, Origin, OriginResult, Progress, ReadOptions, Version,
};

use super::over;
use crate::source::{Source, until};
use crate::{BLOCK, roomy, small_blocks};

fn go_on(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[tokio::test(flavor = "multi_thread")]
async fn warming_tells_how_far_it_is_and_ends_with_its_future() {
    let source = Arc::new(Source::new(100 * BLOCK));
    let blocks = over(&source);
    let seen = Arc::new(AtomicU64::new(0));
    let count = {
        let seen = Arc::clone(&seen);
        move |progress: Progress| {
            seen.store(progress.done_blocks, Ordering::SeqCst);
            ControlFlow::Continue(())
        }
    };
    let options = ReadOptions::new();
    let done = blocks
        .ensure_cached("object", 0..100 * BLOCK, &options, count)
        .await
        .unwrap();
    assert!(done.is_complete());
    assert_eq!(
        (seen.load(Ordering::SeqCst), source.given_again()),
        (100, 0)
    );
    source.close_gate();
    let ensuring = blocks.ensure_cached("other", 0..100 * BLOCK, &options, go_on);
    let timeout = tokio::time::timeout(Duration::from_millis(20), ensuring).await;
    assert!(timeout.is_err(), "the origin does not answer");
    source.open_gate();
    tokio::task::block_in_place(|| until(|| blocks.stats().in_flight == 0));
}

/// Like the local files of an object store: each answer takes a thread of the runtime.
struct ByThreads(Arc<Source>);

async fn by_thread<T: Send + 'static>(
    source: &Arc<Source>,
    call: impl FnOnce(&Source) -> OriginResult<T> + Send + 'static,
) -> OriginResult<T> {
    let source = Arc::clone(source);
    tokio::task::spawn_blocking(move || call(&source)).await?
}

impl AsyncOrigin for ByThreads {
    fn identity(&self) -> String {
        self.0.identity()
    }

    fn head(&self, object: &str) -> impl Future<Output = OriginResult<Head>> + Send {
        let object = object.to_owned();
        by_thread(&self.0, move |source| Origin::head(source, &object))
    }

    async fn read_at(
        &self,
        object: &str,
        version: &Version,
        range: Range<u64>,
        options: &ReadOptions,
    ) -> OriginResult<Bytes> {
        let (object, version, options) = (object.to_owned(), version.clone(), options.clone());
        let read = move |source: &Source| {
            let mut buf = vec![0; usize::try_from(range.end - range.start).unwrap()];
            source.read_at(&object, &version, range.start, &mut buf, &options)?;
            Ok(buf.into())
        };
        by_thread(&self.0, read).await
    }
}

/// However many warm up at once, none of them has a thread that the origin needs.
#[test]
fn warming_leaves_the_runtimes_threads_to_the_origin() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(1)
        .enable_time()
        .build()
        .unwrap();
    let source = Arc::new(Source::new(20 * BLOCK));
    let warming = async {
        let origin = ByThreads(Arc::clone(&source));
        let blocks = AsyncBlockCache::new(roomy(), origin, small_blocks()).unwrap();
        let tasks: Vec<_> = (0..20)
            .map(|n| {
                let blocks = blocks.clone();
                tokio::spawn(async move {
                    let object = format!("object {n}");
                    let options = ReadOptions::new();
                    let done = blocks.ensure_cached(&object, 0..20 * BLOCK, &options, go_on);
                    assert!(done.await.unwrap().is_complete());
                    let there = blocks.stats_of(&object).await.unwrap();
                    assert_eq!(there.cached_blocks, 20);
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    };
    let ended =
        runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), warming).await });
    // Else the threads that are stuck would be waited for.
    runtime.shutdown_background();
    ended.unwrap();
}
