//! Who polls, and who else has a turn.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake};
use std::thread::Thread;

use perennial::blocks::{AsyncBlockCache, Cancel, ReadOptions};
use perennial::{Cache, ErrorKind, Options};
use perennial_failpoints::{Action, CallKind, FaultFs, Plan, SimFs};

use super::{Awaited, over};
use crate::source::{Source, until};
use crate::{BLOCK, KIB, small_blocks};

/// Of 400 blocks the first lie in files.
fn in_files(source: &Arc<Source>) -> (AsyncBlockCache, FaultFs) {
    let fs = FaultFs::new(Arc::new(SimFs::new(1)), Plan::none());
    let options = Options::new()
        .capacity_bytes(8 << 20)
        .segment_bytes(64 * KIB)
        .tail_bytes(64 * KIB)
        .memory_tier_bytes(0);
    let cache = Cache::open_with(Arc::new(fs.clone()), "/cache", options).unwrap();
    let blocks = AsyncBlockCache::new(cache, Awaited(Arc::clone(source)), small_blocks()).unwrap();
    (blocks, fs)
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// By this thread, which is in no runtime.
fn outside<F: Future>(future: F) -> F::Output {
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut future = pin!(future);
    loop {
        let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
        if let Poll::Ready(out) = polled {
            return out;
        }
        std::thread::park();
    }
}

#[test]
fn a_read_may_be_polled_outside_of_the_runtime() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .unwrap();
    let source = Arc::new(Source::new(400 * BLOCK));
    let options = ReadOptions::new();
    let blocks = runtime.block_on(async {
        let (blocks, _) = in_files(&source);
        let read = blocks.read("object", 0..400 * BLOCK, &options).await;
        read.unwrap();
        blocks
    });
    until(|| blocks.stats().in_flight == 0);
    let (_, read) = outside(blocks.read("object", 5..400 * BLOCK, &options)).unwrap();
    assert!(read == source.bytes("object", 1, 5..400 * BLOCK));
    let ensure = blocks.ensure_cached("object", 0..400 * BLOCK, &options, |_| {
        std::ops::ControlFlow::Continue(())
    });
    assert!(outside(ensure).unwrap().is_complete());
    outside(blocks.invalidate("object")).unwrap();
}

#[tokio::test]
async fn who_reads_memory_alone_lets_others_have_their_turn() {
    let source = Arc::new(Source::new(10 * BLOCK));
    let blocks = over(&source);
    let options = ReadOptions::new();
    blocks.read("object", 0..BLOCK, &options).await.unwrap();
    let had = Arc::new(AtomicBool::new(false));
    let other = Arc::clone(&had);
    tokio::spawn(async move { other.store(true, Ordering::SeqCst) });
    for _ in 0..1000 {
        blocks.read("object", 0..BLOCK, &options).await.unwrap();
    }
    assert!(had.load(Ordering::SeqCst));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_read_does_not_wait_for_files() {
    let source = Arc::new(Source::new(400 * BLOCK));
    let (blocks, fs) = in_files(&source);
    let all = 0..400 * BLOCK;
    let options = ReadOptions::new();
    blocks.read("object", all.clone(), &options).await.unwrap();
    tokio::task::block_in_place(|| until(|| blocks.stats().in_flight == 0));
    fs.set_plan(Plan::new(|call| match call.kind {
        CallKind::Read => Action::Hold,
        _ => Action::Pass,
    }));
    let cancel = Cancel::new();
    let reader = tokio::spawn({
        let (blocks, options) = (blocks.clone(), ReadOptions::new().cancel(&cancel));
        async move { blocks.read("object", all, &options).await }
    });
    tokio::task::block_in_place(|| until(|| fs.held() > 0));
    cancel.cancel();
    let read = reader.await.unwrap();
    assert_eq!(read.unwrap_err().kind(), ErrorKind::Cancelled);
    fs.set_plan(Plan::none());
    fs.let_go();
}
