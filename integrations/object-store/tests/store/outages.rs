//! A store below that does not answer, or not well: nobody is held up by that, and it is asked no more than need be.

use std::sync::Arc;

use perennial_object_store::HeadPolicy;

use super::requests::{LEN, fresh};
use super::watched::Watched;
use super::{POLICIES, content, over, part, put, read, until};
use crate::object_store::path::Path;
use crate::object_store::{Error, ObjectStoreExt};

/// Who gives a read up has given up its request: others, and he himself, ask anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_hang_are_in_nobodys_way() {
    for policy in POLICIES {
        let watched = Arc::new(Watched::default());
        let locations: Vec<_> = (0..8).map(|n| Path::from(format!("{n}"))).collect();
        for location in &locations {
            put(&watched, location, &content(1, LEN)).await;
        }
        // It has four threads.
        let cached = over(Arc::clone(&watched), policy);
        for location in &locations {
            watched.hold_next();
            let (reading, location) = (cached.clone(), location.clone());
            let reader = tokio::spawn(async move { reading.get_range(&location, 0..10).await });
            until(|| async { !watched.will_hold() }).await;
            reader.abort();
            assert!(reader.await.unwrap_err().is_cancelled());
        }
        for location in &locations {
            let range = cached.get_range(location, 0..10).await.unwrap();
            assert_eq!(range, part(&content(1, LEN), 0..10), "{policy:?}");
        }
    }
}

fn unavailable() -> Error {
    Error::Generic {
        store: "Watched",
        source: "Error performing GET http://server/a in 180s, after 10 retries, max_retries: 10, \
            retry_timeout: 180s  - Server returned non-2xx status code: 503 Service Unavailable: "
            .into(),
    }
}

fn too_many_requests() -> Error {
    Error::Generic {
        store: "Watched",
        source: "Error performing GET http://server/a in 180s, after 10 retries, max_retries: 10, \
            retry_timeout: 180s  - Server returned non-2xx status code: 429 Too Many Requests: "
            .into(),
    }
}

/// Its client has tried for minutes already.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_answer_is_asked_once() {
    for policy in POLICIES {
        for error in [unavailable, too_many_requests] {
            let (location, watched, cached) = fresh(policy).await;
            watched.refuse(Some(error));
            cached.get(&location).await.unwrap_err();
            assert_eq!(watched.asked(), (0, 1), "{policy:?}");
            cached.get_range(&location, 5_000..9_000).await.unwrap_err();
            assert_eq!(watched.asked(), (0, 1), "{policy:?}");
        }
    }
}

/// Only a store that has never given a range is asked for the whole, for it may have none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_has_ranges_is_not_asked_for_the_whole() {
    let (location, watched, cached) = fresh(HeadPolicy::Immutable).await;
    assert_eq!(read(&cached, &location).await, content(1, LEN));
    cached.invalidate(&location).await.unwrap();
    watched.refuse(Some(|| Error::PermissionDenied {
        path: "a".into(),
        source: "no".into(),
    }));
    watched.asked();
    cached.get(&location).await.unwrap_err();
    assert_eq!(watched.asked(), (0, 1));
    watched.refuse(Some(|| Error::NotSupported {
        source: "not today".into(),
    }));
    cached.get(&location).await.unwrap_err();
    assert_eq!(watched.asked(), (0, 1));
}
