//! Versions that are times: two contents of one size may have the same. What is written through the store is seen all the same, for
//! the writer knows that it is another content.

use std::sync::Arc;

use perennial_failpoints::{Shows, SimFs, Syncs};
use perennial_object_store::HeadPolicy;

use super::watched::{COARSE, Names, Watched};
use super::{POLICIES, cache_on, content, on, over, put, read, settled};
use crate::CachedObjectStore;
use crate::object_store::path::Path;
use crate::object_store::{Error, ObjectStore, ObjectStoreExt};

const LEN: usize = 30_000;

/// A store below that knows only times, and one over it that has read `a` and `b`, which are content 1.
struct Coarse {
    watched: Arc<Watched>,
    cached: CachedObjectStore,
    what: String,
    a: Path,
    b: Path,
}

impl Coarse {
    async fn new(names: Names, policy: HeadPolicy) -> Self {
        let watched = Arc::new(Watched::default());
        watched.name(names);
        let cached = over(Arc::clone(&watched), policy);
        let (a, b) = (Path::from("a"), Path::from("b"));
        for location in [&a, &b] {
            put(&watched, location, &content(1, LEN)).await;
            assert_eq!(read(&cached, location).await, content(1, LEN));
        }
        settled(&cached).await;
        let what = format!("{names:?}, {policy:?}");
        Self {
            watched,
            cached,
            what,
            a,
            b,
        }
    }

    async fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for names in COARSE {
            for policy in POLICIES {
                all.push(Self::new(names, policy).await);
            }
        }
        all
    }

    async fn assert_is(&self, location: &Path, seed: u64) {
        let found = read(&self.cached, location).await;
        assert!(
            found == content(seed, LEN),
            "{}: not content {seed}",
            self.what
        );
    }

    async fn assert_gone(&self, location: &Path) {
        let found = self.cached.get(location).await;
        assert!(
            matches!(found, Err(Error::NotFound { .. })),
            "{}: {found:?}",
            self.what
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_put_is_seen() {
    for coarse in Coarse::all().await {
        for round in 2..20 {
            put(&coarse.cached, &coarse.a, &content(round, LEN)).await;
            coarse.assert_is(&coarse.a, round).await;
            if round % 3 == 0 {
                settled(&coarse.cached).await;
            }
        }
        coarse.assert_is(&coarse.b, 1).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_put_of_a_process_is_seen() {
    for names in COARSE {
        let (fs, watched) = (SimFs::new(1), Arc::new(Watched::default()));
        watched.name(names);
        let location = Path::from("a");
        put(&watched, &location, &content(1, LEN)).await;
        let cached = on(&fs, Arc::clone(&watched), HeadPolicy::Immutable);
        assert_eq!(read(&cached, &location).await, content(1, LEN));
        settled(&cached).await;
        // The next one has not seen yet what versions are called.
        let killed = fs.process_crash();
        let cached = on(&killed, Arc::clone(&watched), HeadPolicy::Immutable);
        put(&cached, &location, &content(2, LEN)).await;
        assert_eq!(read(&cached, &location).await, content(2, LEN), "{names:?}");
    }
}

/// What an earlier life has of it, this one has only heard names: nothing is left to it of what is replaced.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_put_is_seen_where_only_an_earlier_life_saw_times() {
    for names in COARSE {
        for head_first in [false, true] {
            let (fs, watched) = (SimFs::new(1), Arc::new(Watched::default()));
            let (timed, named) = (Path::from("timed"), Path::from("named"));
            watched.name(names);
            put(&watched, &timed, &content(1, LEN)).await;
            put(&watched, &named, &content(1, LEN)).await;
            let cached = on(&fs, Arc::clone(&watched), HeadPolicy::Immutable);
            assert_eq!(read(&cached, &timed).await, content(1, LEN));
            settled(&cached).await;
            let killed = fs.process_crash();
            let cached = on(&killed, Arc::clone(&watched), HeadPolicy::Immutable);
            watched.name(Names::Own);
            assert_eq!(read(&cached, &named).await, content(1, LEN));
            assert_eq!(read(&cached, &timed).await, content(1, LEN));
            put(&cached, &timed, &content(2, LEN)).await;
            watched.name(names);
            if head_first {
                cached.head(&timed).await.unwrap();
            } else {
                cached.get_range(&timed, 0..100).await.unwrap();
            }
            assert_eq!(read(&cached, &timed).await, content(2, LEN), "{names:?}");
        }
    }
}

/// That there are none is known to the next process, too, until one comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn that_there_are_no_times_is_said_until_there_is_one() {
    let (fs, watched) = (SimFs::new(1), Arc::new(Watched::default()));
    let location = Path::from("a");
    let said = |fs: &SimFs| {
        let cache = cache_on(&fs.process_crash());
        cache.contains(b"\0os\x01the store of the tests").unwrap()
    };
    let cached = on(&fs, Arc::clone(&watched), HeadPolicy::AlwaysRevalidate);
    put(&watched, &location, &content(1, LEN)).await;
    assert_eq!(read(&cached, &location).await, content(1, LEN));
    assert!(!said(&fs), "nobody has looked");
    put(&cached, &location, &content(2, LEN)).await;
    assert!(said(&fs));
    assert_eq!(read(&cached, &location).await, content(2, LEN));
    assert!(said(&fs));
    watched.name(Names::None);
    assert_eq!(read(&cached, &location).await, content(2, LEN));
    assert!(!said(&fs), "one has been seen");
    put(&cached, &location, &content(3, LEN)).await;
    assert!(!said(&fs));
    // They are gone, and so are their blocks.
    let killed = fs.process_crash();
    let cached = on(&killed, Arc::clone(&watched), HeadPolicy::Immutable);
    watched.name(Names::Own);
    put(&cached, &location, &content(4, LEN)).await;
    assert!(said(&killed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_in_parts_is_seen() {
    for coarse in Coarse::all().await {
        let mut upload = coarse.cached.put_multipart(&coarse.a).await.unwrap();
        let whole = content(2, LEN);
        for part in [whole.slice(..LEN / 2), whole.slice(LEN / 2..)] {
            upload.put_part(part.into()).await.unwrap();
        }
        coarse.assert_is(&coarse.a, 1).await;
        upload.complete().await.unwrap();
        coarse.assert_is(&coarse.a, 2).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_seen() {
    for coarse in Coarse::all().await {
        put(&coarse.watched, &coarse.a, &content(2, LEN)).await;
        coarse.cached.copy(&coarse.a, &coarse.b).await.unwrap();
        coarse.assert_is(&coarse.b, 2).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rename_is_seen_at_both_ends() {
    for coarse in Coarse::all().await {
        put(&coarse.watched, &coarse.a, &content(2, LEN)).await;
        coarse.cached.rename(&coarse.a, &coarse.b).await.unwrap();
        coarse.assert_is(&coarse.b, 2).await;
        coarse.assert_gone(&coarse.a).await;
        put(&coarse.cached, &coarse.a, &content(3, LEN)).await;
        coarse.assert_is(&coarse.a, 3).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_put_in_the_place_of_something_deleted_is_seen() {
    for coarse in Coarse::all().await {
        coarse.cached.delete(&coarse.a).await.unwrap();
        coarse.assert_gone(&coarse.a).await;
        put(&coarse.cached, &coarse.a, &content(2, LEN)).await;
        coarse.assert_is(&coarse.a, 2).await;
    }
}

/// Where each read asks the store, and its answer tells the new content from the old one, nothing rests on what the cache forgets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cache_that_cannot_forget_fails_the_write_before_it_is_done() {
    let location = Path::from("a");
    for policy in POLICIES {
        for names in [Names::Own, Names::None, Names::OfSize] {
            let (fs, watched) = (SimFs::new(1), Arc::new(Watched::default()));
            watched.name(names);
            put(&watched, &location, &content(1, LEN)).await;
            let cached = on(&fs, Arc::clone(&watched), policy);
            assert_eq!(read(&cached, &location).await, content(1, LEN));
            settled(&cached).await;
            fs.set_syncs(Syncs::Fail(Shows::New));
            let payload = content(2, LEN).into();
            let written = cached
                .put_opts(&location, payload, Default::default())
                .await;
            let may = policy == HeadPolicy::AlwaysRevalidate && names == Names::Own;
            assert_eq!(written.is_ok(), may, "{policy:?}, {names:?}: {written:?}");
            let now = content(if may { 2 } else { 1 }, LEN);
            assert_eq!(read(&*watched, &location).await, now);
            assert_eq!(read(&cached, &location).await, now);
        }
    }
}
