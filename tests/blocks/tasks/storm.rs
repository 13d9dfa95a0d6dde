//! The storm once more with 64 tasks, whose reads end early by being dropped, and with heads that are remembered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use perennial::blocks::{AsyncBlockCache, Revalidate};
use perennial::{Cache, ErrorKind, Options};

use super::Awaited;
use crate::source::{Faults, Rng, Source, until};
use crate::storm::{LEN, OBJECTS, Tally, check, options, quietly, set, watch};
use crate::{BLOCK, small_blocks};

const TASKS: u64 = 64;

/// One read of a random shape, perhaps given up, and what came of it.
async fn read(blocks: &AsyncBlockCache, source: &Source, rng: &mut Rng, tally: &Tally) {
    let object = format!("object/{}", rng.below(OBJECTS));
    let before = source.version_of(&object);
    let options = options(rng);
    let always = options.revalidate == Revalidate::Always;
    let len = source.len_at(before);
    let offset = rng.below(len);
    let most = if rng.one_in(4) { len } else { BLOCK };
    let range = offset..offset + rng.below(most).min(len - offset);
    let read = blocks.read(&object, range, &options);
    let read = if rng.one_in(10) {
        let patience = Duration::from_micros(rng.below(500));
        match tokio::time::timeout(patience, read).await {
            Ok(read) => read,
            Err(_) => {
                tally.cancelled.fetch_add(1, Ordering::Relaxed);
                source.change(&format!("object/{}", rng.below(OBJECTS)));
                return;
            }
        }
    } else {
        read.await
    };
    let count = match read {
        Ok((head, bytes)) => {
            let first = if always { before } else { 1 };
            check(source, &object, (first, &head), (offset, &bytes));
            &tally.good
        }
        Err(error) => match error.kind() {
            ErrorKind::Origin => &tally.failed,
            ErrorKind::Changed => &tally.changed,
            // An older version, which may be read, is shorter.
            ErrorKind::Invalid if !always => return,
            _ => panic!("{error}"),
        },
    };
    count.fetch_add(1, Ordering::Relaxed);
}

#[test]
fn random_reads_by_tasks_of_an_origin_that_does_everything() {
    let reads = set("PERENNIAL_BLOCK_READS", 50_000);
    let seed = set("PERENNIAL_SEED", 1);
    println!("seed {seed}");
    let dir = tempfile::tempdir().unwrap();
    let capacity = (1 << 30) + reads * 8 * BLOCK / 4;
    let cache = Cache::open(dir.path(), Options::new().capacity_bytes(capacity)).unwrap();
    let source = Arc::new(Source::new(LEN));
    *source.faults.lock().unwrap() = Faults {
        fails: 50,
        panics: 500,
        short: 50,
        slow: 20,
        // Else each read is followed by a question, which fails now and then when the bytes were given already.
        checks_version: true,
    };
    let (done, progress) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let tally = Arc::new(Tally::default());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_time()
        .build()
        .unwrap();
    let options = small_blocks()
        .readahead_blocks(4)
        .remember_heads(true)
        .fetch_threads(16);
    let blocks = {
        let _inside = runtime.enter();
        AsyncBlockCache::new(cache, Awaited(Arc::clone(&source)), options).unwrap()
    };
    quietly(|| {
        std::thread::scope(|s| {
            s.spawn(|| watch(&done, &progress));
            let tasks: Vec<_> = (0..TASKS)
                .map(|task| {
                    let (blocks, source) = (blocks.clone(), Arc::clone(&source));
                    let (tally, progress) = (Arc::clone(&tally), Arc::clone(&progress));
                    runtime.spawn(async move {
                        let mut rng = Rng(seed << 32 | task);
                        for _ in 0..reads / TASKS {
                            read(&blocks, &source, &mut rng, &tally).await;
                            progress.fetch_add(1, Ordering::Relaxed);
                        }
                    })
                })
                .collect();
            let ended: Vec<_> = tasks
                .into_iter()
                .map(|task| runtime.block_on(task))
                .collect();
            done.store(true, Ordering::Relaxed);
            ended.into_iter().for_each(|ended| ended.unwrap());
        });
    });
    until(|| blocks.stats().in_flight == 0);
    let stats = blocks.stats();
    let [good, failed, cancelled, changed] =
        [&tally.good, &tally.failed, &tally.cancelled, &tally.changed]
            .map(|n| n.load(Ordering::Relaxed));
    println!(
        "{good} good, {failed} failed, {cancelled} dropped, {changed} changed too often; {} blocks given again; {} heads, {} opened",
        source.given_again(),
        source.heads.load(Ordering::Relaxed),
        source.opens.load(Ordering::Relaxed),
    );
    println!("{stats}");
    assert_eq!(stats.evicted, 0, "the cache has room for all");
    let again = stats.failed_fills + stats.left_blocks;
    assert!(source.given_again() <= again, "{stats:?}");
    assert!(
        good > reads / 2 && failed > 0 && cancelled > 0,
        "it was a storm"
    );
    assert!(stats.changes > 0 && stats.joined > 0 && stats.partial_hits > 0);
}
