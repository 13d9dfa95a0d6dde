//! What the store below refuses is refused in the same words.

use std::error::Error as _;
use std::mem::discriminant;
use std::sync::Arc;

use perennial_object_store::HeadPolicy;

use super::watched::Watched;
use super::{POLICIES, content, over, put, read};
use crate::object_store::path::{self, Path};
use crate::object_store::{Error, ObjectStore, ObjectStoreExt};

const PATH: &str = "where/it/was";

fn why() -> Box<dyn std::error::Error + Send + Sync> {
    "the very reason".into()
}

fn permission_denied() -> Error {
    Error::PermissionDenied {
        path: PATH.into(),
        source: why(),
    }
}

fn precondition() -> Error {
    Error::Precondition {
        path: PATH.into(),
        source: why(),
    }
}

const REFUSALS: [fn() -> Error; 16] = [
    permission_denied,
    precondition,
    || Error::Generic {
        store: "Watched",
        source: why(),
    },
    || Error::NotFound {
        path: PATH.into(),
        source: why(),
    },
    || Error::AlreadyExists {
        path: PATH.into(),
        source: why(),
    },
    || Error::NotModified {
        path: PATH.into(),
        source: why(),
    },
    || Error::Unauthenticated {
        path: PATH.into(),
        source: why(),
    },
    || Error::NotSupported { source: why() },
    || Error::NotImplemented {
        operation: "get".into(),
        implementer: "Watched".into(),
    },
    || Error::UnknownConfigurationKey {
        store: "Watched",
        key: "key".into(),
    },
    || {
        wrong_name(path::Error::EmptySegment {
            path: "a//b".into(),
        })
    },
    || wrong_name(Path::parse("a/../b").unwrap_err()),
    || wrong_name(path::Error::InvalidPath { path: "a".into() }),
    || {
        wrong_name(path::Error::PrefixMismatch {
            path: "a".into(),
            prefix: "b".into(),
        })
    },
    || {
        wrong_name(path::Error::Canonicalize {
            path: "a".into(),
            source: std::io::Error::other("no such thing"),
        })
    },
    || {
        wrong_name(path::Error::NonUnicode {
            path: "a".into(),
            source: String::from_utf8(vec![0xFF]).unwrap_err().utf8_error(),
        })
    },
];

fn wrong_name(source: path::Error) -> Error {
    source.into()
}

/// The same variant, with the same words.
fn assert_alike(given: &Error, expected: &Error) {
    assert_eq!(discriminant(given), discriminant(expected), "{given:?}");
    assert_eq!(given.to_string(), expected.to_string());
}

/// And the original is among its sources, where there is room for it.
fn assert_same(given: &Error, expected: &Error) {
    assert_alike(given, expected);
    if given.source().is_none() || matches!(given, Error::InvalidPath { .. }) {
        return;
    }
    let mut causes = std::iter::successors(given.source(), |&cause| cause.source());
    let original = causes.find_map(|cause| cause.downcast_ref::<Error>());
    let original = original.expect("the original is among the sources");
    assert_eq!(original.to_string(), expected.to_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_object_is_refused_as_by_the_store_below() {
    let location = Path::from("a");
    for policy in POLICIES {
        for refusal in REFUSALS {
            let watched = Arc::new(Watched::default());
            put(&watched, &location, &content(1, 50_000)).await;
            let cached = over(Arc::clone(&watched), policy);
            watched.refuse(Some(refusal));
            let expected = refusal();
            assert_same(&cached.head(&location).await.unwrap_err(), &expected);
            // Where it may have been the range that was refused, it is asked once more without: then it is the original itself.
            assert_alike(&cached.get(&location).await.unwrap_err(), &expected);
            let range = cached.get_range(&location, 5..9).await;
            assert_same(&range.unwrap_err(), &expected);
            let ranges = cached.get_ranges(&location, &[5..9, 40_000..40_001]).await;
            assert_same(&ranges.unwrap_err(), &expected);
            // Nothing of that is remembered.
            watched.refuse(None);
            assert_eq!(read(&cached, &location).await, content(1, 50_000));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_is_refused_as_by_the_store_below() {
    let location = Path::from("a");
    for refusal in REFUSALS {
        let watched = Arc::new(Watched::default());
        put(&watched, &location, &content(1, 50_000)).await;
        let cached = over(Arc::clone(&watched), HeadPolicy::Immutable);
        cached.head(&location).await.unwrap();
        watched.refuse(Some(refusal));
        let range = cached.get_range(&location, 5..9).await;
        assert_same(&range.unwrap_err(), &refusal());
        watched.refuse(None);
        assert_eq!(read(&cached, &location).await, content(1, 50_000));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_who_waited_is_told() {
    let location = Path::from("a");
    let watched = Arc::new(Watched::default());
    let cached = over(Arc::clone(&watched), HeadPolicy::Immutable);
    watched.refuse(Some(permission_denied));
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let (cached, location) = (cached.clone(), location.clone());
            tokio::spawn(async move { cached.head(&location).await })
        })
        .collect();
    for task in tasks {
        assert_same(&task.await.unwrap().unwrap_err(), &permission_denied());
    }
}
