//! `get_or_fetch`: one fetch however many ask, and nothing newer is ever overwritten by what was fetched.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::scope;

use perennial::{Cache, Error, ErrorKind, Options, Value};
use perennial_failpoints::SimFs;

use crate::small;

fn open() -> Cache {
    let options = Options::new().capacity_bytes(8 << 20).tail_bytes(1 << 20);
    small::open(&SimFs::new(1), options).unwrap()
}

/// A fetch that tells when it has begun and returns what it is given.
struct Origin {
    began: Receiver<()>,
    answer: Sender<Result<&'static str, &'static str>>,
}

/// The two ends of an origin: the test's, and the closure's.
fn origin() -> (Origin, impl FnOnce() -> Result<Vec<u8>, &'static str>) {
    let (tell, began) = channel();
    let (answer, answered) = channel::<Result<&'static str, &'static str>>();
    let fetch = move || {
        tell.send(()).unwrap();
        answered
            .recv()
            .expect("the test answers")
            .map(|text| text.into())
    };
    (Origin { began, answer }, fetch)
}

/// Waits until `n` callers wait for another's fetch.
fn until_waiting(cache: &Cache, n: u64) {
    while cache.stats().fetch_waits < n {
        std::thread::yield_now();
    }
}

/// A fetch for a caller who must not need one.
fn never() -> Result<Vec<u8>, Infallible> {
    panic!("fetched twice");
}

fn text(value: Result<Value, Error>) -> String {
    String::from_utf8(value.unwrap().to_vec()).unwrap()
}

#[test]
fn one_of_many_callers_fetches_and_all_get_it() {
    let cache = open();
    let (origin, fetch) = origin();
    scope(|s| {
        let first = s.spawn(|| text(cache.get_or_fetch("key", fetch)));
        origin.began.recv().unwrap();
        let others: Vec<_> = (0..15)
            .map(|_| s.spawn(|| text(cache.get_or_fetch("key", never))))
            .collect();
        until_waiting(&cache, 15);
        origin.answer.send(Ok("fetched")).unwrap();
        assert_eq!(first.join().unwrap(), "fetched");
        for other in others {
            assert_eq!(other.join().unwrap(), "fetched");
        }
    });
    assert_eq!(text(cache.get_or_fetch("key", never)), "fetched");
    let stats = cache.stats();
    assert_eq!((stats.fetches, stats.fetch_waits), (1, 15));
}

#[test]
fn callers_that_come_all_at_once_cause_one_fetch_per_key() {
    let cache = open();
    let fetches: Vec<AtomicU64> = (0..200).map(|_| AtomicU64::new(0)).collect();
    scope(|s| {
        for _ in 0..8 {
            s.spawn(|| {
                for (n, fetched) in fetches.iter().enumerate() {
                    let value = cache.get_or_fetch(format!("key-{n}"), || {
                        fetched.fetch_add(1, Ordering::Relaxed);
                        Ok::<_, Infallible>(n.to_string().into_bytes())
                    });
                    assert_eq!(text(value), n.to_string());
                }
            });
        }
    });
    for (n, fetched) in fetches.iter().enumerate() {
        assert_eq!(fetched.load(Ordering::Relaxed), 1, "key-{n}");
    }
}

/// What happens to the key while the fetch is under way wins; who waited from before still gets what was fetched.
fn overtaken(by: impl Fn(&Cache), left: Option<&str>) {
    let cache = open();
    let (origin, fetch) = origin();
    scope(|s| {
        let first = s.spawn(|| text(cache.get_or_fetch("key", fetch)));
        origin.began.recv().unwrap();
        let waiting = s.spawn(|| text(cache.get_or_fetch("key", never)));
        until_waiting(&cache, 1);
        by(&cache);
        origin.answer.send(Ok("fetched")).unwrap();
        assert_eq!(first.join().unwrap(), "fetched");
        assert_eq!(waiting.join().unwrap(), "fetched");
    });
    let found = cache.get("key").unwrap();
    assert_eq!(found.as_deref(), left.map(str::as_bytes));
}

#[test]
fn an_insert_during_the_fetch_wins() {
    overtaken(
        |cache| {
            cache.insert("key", "newer").unwrap();
        },
        Some("newer"),
    );
    overtaken(
        |cache| {
            cache.insert_durable("key", "newer").unwrap();
        },
        Some("newer"),
    );
    let fill = |bytes: &mut [u8]| {
        bytes.copy_from_slice(b"newer");
        Ok::<_, Infallible>(())
    };
    overtaken(
        |cache| {
            cache.insert_with_len("key", 5, fill).unwrap();
        },
        Some("newer"),
    );
}

#[test]
fn a_remove_during_the_fetch_wins() {
    overtaken(|cache| cache.remove("key").unwrap(), None);
    overtaken(|cache| cache.remove_durable("key").unwrap(), None);
    overtaken(
        |cache| {
            cache.insert("key", "newer").unwrap();
            cache.remove("key").unwrap();
        },
        None,
    );
}

#[test]
fn a_failed_insert_during_the_fetch_leaves_nothing() {
    overtaken(
        |cache| {
            let failed = cache.insert_with_len("key", 5, |_| Err("no"));
            assert_eq!(failed.unwrap_err().kind(), ErrorKind::Origin);
        },
        None,
    );
}

#[test]
fn who_comes_after_a_remove_does_not_get_what_was_fetched_before_it() {
    let cache = open();
    let (old, old_fetch) = origin();
    let (new, new_fetch) = origin();
    scope(|s| {
        let before = s.spawn(|| text(cache.get_or_fetch("key", old_fetch)));
        old.began.recv().unwrap();
        cache.remove("key").unwrap();
        let after = s.spawn(|| text(cache.get_or_fetch("key", new_fetch)));
        // The second fetch begins though the first is still under way.
        new.began.recv().unwrap();
        new.answer.send(Ok("new")).unwrap();
        assert_eq!(after.join().unwrap(), "new");
        old.answer.send(Ok("old")).unwrap();
        assert_eq!(before.join().unwrap(), "old");
    });
    assert_eq!(&*cache.get("key").unwrap().unwrap(), b"new");
}

#[test]
fn the_older_of_two_fetches_is_not_stored_even_if_it_ends_first() {
    let cache = open();
    let (old, old_fetch) = origin();
    let (new, new_fetch) = origin();
    scope(|s| {
        let before = s.spawn(|| text(cache.get_or_fetch("key", old_fetch)));
        old.began.recv().unwrap();
        cache.remove("key").unwrap();
        let after = s.spawn(|| text(cache.get_or_fetch("key", new_fetch)));
        new.began.recv().unwrap();
        old.answer.send(Ok("old")).unwrap();
        assert_eq!(before.join().unwrap(), "old");
        assert!(cache.get("key").unwrap().is_none());
        // It did not take the newer one's registration with it either.
        let waiting = s.spawn(|| text(cache.get_or_fetch("key", never)));
        until_waiting(&cache, 1);
        new.answer.send(Ok("new")).unwrap();
        assert_eq!(after.join().unwrap(), "new");
        assert_eq!(waiting.join().unwrap(), "new");
    });
}

#[test]
fn an_error_reaches_all_who_wait_and_the_next_caller_fetches_anew() {
    let cache = open();
    let (origin, fetch) = origin();
    scope(|s| {
        let first = s.spawn(|| cache.get_or_fetch("key", fetch));
        origin.began.recv().unwrap();
        let others: Vec<_> = (0..7)
            .map(|_| s.spawn(|| cache.get_or_fetch("key", never)))
            .collect();
        until_waiting(&cache, 7);
        origin.answer.send(Err("the origin is down")).unwrap();
        for caller in others.into_iter().chain([first]) {
            let error = caller.join().unwrap().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Origin);
            let source = std::error::Error::source(&error)
                .expect("a source")
                .to_string();
            assert_eq!(source, "the origin is down");
        }
    });
    assert!(cache.get("key").unwrap().is_none());
    let again = cache.get_or_fetch("key", || Ok::<_, Infallible>(b"up again".to_vec()));
    assert_eq!(text(again), "up again");
}

#[test]
fn after_a_panic_one_of_the_waiters_fetches() {
    let cache = open();
    let (tell, began) = channel();
    let (go, gone) = channel::<()>();
    let fetches = AtomicU64::new(0);
    scope(|s| {
        let cache = &cache;
        let first = s.spawn(move || {
            catch_unwind(AssertUnwindSafe(|| {
                let _ = cache.get_or_fetch("key", || -> Result<Vec<u8>, Infallible> {
                    tell.send(()).unwrap();
                    gone.recv().unwrap();
                    std::panic::resume_unwind(Box::new("the fetch panicked"));
                });
            }))
        });
        began.recv().unwrap();
        let others: Vec<_> = (0..7)
            .map(|_| {
                s.spawn(|| {
                    text(cache.get_or_fetch("key", || {
                        fetches.fetch_add(1, Ordering::Relaxed);
                        Ok::<_, Infallible>(b"fetched".to_vec())
                    }))
                })
            })
            .collect();
        until_waiting(cache, 7);
        go.send(()).unwrap();
        assert!(first.join().unwrap().is_err(), "the panic is the caller's");
        for other in others {
            assert_eq!(other.join().unwrap(), "fetched");
        }
    });
    assert_eq!(fetches.load(Ordering::Relaxed), 1);
}

#[test]
fn a_fetch_may_use_other_keys() {
    let cache = open();
    let outer = cache.get_or_fetch("outer", || {
        let inner = cache.get_or_fetch("inner", || Ok::<_, Infallible>(b"in".to_vec()))?;
        cache.insert("beside", "too")?;
        Ok::<_, Error>([&*inner, b"side"].concat())
    });
    assert_eq!(text(outer), "inside");
    assert_eq!(text(cache.get_or_fetch("inner", never)), "in");
    assert!(cache.contains("beside").unwrap());
}

#[test]
fn what_is_too_large_to_keep_is_returned_all_the_same() {
    let cache = open();
    let large = vec![7; 16 << 20];
    let fetched = cache.get_or_fetch("key", || Ok::<_, Infallible>(large.clone()));
    assert_eq!(fetched.unwrap().len(), large.len());
    assert!(cache.get("key").unwrap().is_none());
    assert_eq!(cache.stats().rejected, 1);
}
