//! Everything at once: sixteen threads read a thousand objects in random shapes, from an origin that fails, panics, is slow,
//! answers short and changes, and are cancelled at random.
//!
//! `PERENNIAL_BLOCK_READS=n` reads so many times (`just soak-blocks` a million); `PERENNIAL_SEED=n` draws others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use perennial::blocks::{BlockCache, Cancel, Head, Priority, ReadOptions, Revalidate};
use perennial::{Cache, ErrorKind, Options};

use crate::source::{Faults, Rng, Source};
use crate::{BLOCK, settled, small_blocks};

const THREADS: u64 = 16;
pub(crate) const OBJECTS: u64 = 1_000;
pub(crate) const LEN: u64 = 10 * BLOCK + 123;

pub(crate) fn set(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |n| n.parse().expect("a number"))
}

#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) good: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) cancelled: AtomicU64,
    pub(crate) changed: AtomicU64,
}

/// A reader that does not return for so long hangs.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn options(rng: &mut Rng) -> ReadOptions {
    let revalidate = match rng.below(4) {
        0 => Revalidate::Never,
        1 => Revalidate::After(Duration::from_millis(2)),
        _ => Revalidate::Always,
    };
    let priority = match rng.below(8) {
        0 => Priority::Background,
        1 => Priority::Readahead,
        _ => Priority::Foreground,
    };
    ReadOptions::new().revalidate(revalidate).priority(priority)
}

/// One read of a random shape, and what came of it.
fn read(
    blocks: &BlockCache,
    source: &Source,
    rng: &mut Rng,
    cancels: &std::sync::mpsc::Sender<Cancel>,
    tally: &Tally,
) {
    let object = format!("object/{}", rng.below(OBJECTS));
    let before = source.version_of(&object);
    let mut options = options(rng);
    if rng.one_in(10) {
        let cancel = Cancel::new();
        options = options.cancel(&cancel);
        cancels.send(cancel).unwrap();
    }
    let always = options.revalidate == Revalidate::Always;
    let len = source.len_at(before);
    let offset = rng.below(len);
    let most = if rng.one_in(4) { len } else { BLOCK };
    let mut buf = vec![0; usize::try_from(rng.below(most).min(len - offset)).unwrap()];
    match blocks.read_at(&object, offset, &mut buf, &options) {
        Ok(head) => {
            let first = if always { before } else { 1 };
            check(source, &object, (first, &head), (offset, &buf));
            tally.good.fetch_add(1, Ordering::Relaxed);
        }
        Err(error) => {
            let count = match error.kind() {
                ErrorKind::Origin => &tally.failed,
                ErrorKind::Cancelled => &tally.cancelled,
                ErrorKind::Changed => &tally.changed,
                // An older version, which may be read, is shorter.
                ErrorKind::Invalid if !always => return,
                _ => panic!("{error}"),
            };
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The bytes are all of one version, no older than the first that the read may be of.
pub(crate) fn check(
    source: &Source,
    object: &str,
    (first, head): (u64, &Head),
    (offset, bytes): (u64, &[u8]),
) {
    let mut versions = first..=source.version_of(object);
    let version = versions.find(|n| head.version == (*n).into());
    let version = version.expect("a version that the read may be of");
    assert_eq!(head.len, source.len_at(version));
    let range = offset..offset + bytes.len() as u64;
    assert!(
        bytes == source.bytes(object, version, range.clone()),
        "{object}, version {version}, {range:?}"
    );
}

/// Changes objects, and cancels reads somewhat after they have begun, until there are no more.
fn meddle(source: &Source, cancels: &std::sync::mpsc::Receiver<Cancel>, seed: u64) {
    let mut rng = Rng(seed ^ 99);
    while let Ok(cancel) = cancels.recv() {
        if rng.one_in(2) {
            thread::sleep(Duration::from_micros(rng.below(300)));
        }
        cancel.cancel();
        for _ in 0..2 {
            source.change(&format!("object/{}", rng.below(OBJECTS)));
        }
    }
}

#[test]
fn random_reads_of_an_origin_that_does_everything() {
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
        checks_version: false,
    };
    let blocks = BlockCache::new(
        cache,
        Arc::clone(&source),
        small_blocks().readahead_blocks(4),
    )
    .unwrap();
    let (done, progress) = (AtomicBool::new(false), AtomicU64::new(0));
    let tally = Tally::default();
    quietly(|| {
        let (send, cancels) = std::sync::mpsc::channel();
        thread::scope(|s| {
            s.spawn(|| meddle(&source, &{ cancels }, seed));
            s.spawn(|| watch(&done, &progress));
            let readers: Vec<_> = (0..THREADS)
                .map(|thread| {
                    let (blocks, source, send, tally, progress) =
                        (&blocks, &*source, send.clone(), &tally, &progress);
                    s.spawn(move || {
                        let mut rng = Rng(seed << 32 | thread);
                        for _ in 0..reads / THREADS {
                            read(blocks, source, &mut rng, &send, tally);
                            progress.fetch_add(1, Ordering::Relaxed);
                        }
                    })
                })
                .collect();
            drop(send);
            let ended: Vec<_> = readers
                .into_iter()
                .map(thread::ScopedJoinHandle::join)
                .collect();
            done.store(true, Ordering::Relaxed);
            ended.into_iter().for_each(|ended| ended.unwrap());
        });
    });
    let stats = settled(&blocks);
    let [good, failed, cancelled, changed] =
        [&tally.good, &tally.failed, &tally.cancelled, &tally.changed]
            .map(|n| n.load(Ordering::Relaxed));
    println!(
        "{good} good, {failed} failed, {cancelled} cancelled, {changed} changed too often; {} blocks given again",
        source.given_again()
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

/// Ends the process where a reader hangs: the scope would wait for it for ever.
pub(crate) fn watch(done: &AtomicBool, progress: &AtomicU64) {
    let (mut seen, mut quiet) = (0, Duration::ZERO);
    while !done.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(20));
        let now = progress.load(Ordering::Relaxed);
        quiet = if now == seen {
            quiet + Duration::from_millis(20)
        } else {
            Duration::ZERO
        };
        seen = now;
        if quiet > PATIENCE {
            eprintln!("no read has returned for {PATIENCE:?}");
            std::process::abort();
        }
    }
}

/// The origin's panics are meant, and are not printed.
pub(crate) fn quietly(body: impl FnOnce()) {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let message = panic.payload().downcast_ref::<&str>().copied();
        if !message.is_some_and(|message| message.contains("meant so")) {
            hook(panic);
        }
    }));
    body();
}
