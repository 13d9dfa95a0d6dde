//! Conditional reads: what moto answers, as HTTP has it (`If-Match` 412, `If-None-Match` 304), the cache answers.

use std::sync::Arc;
use std::time::Duration;

use perennial_object_store::HeadPolicy;

use super::object_store::path::Path;
use super::object_store::{Error, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt};
use super::place::{client, through};
use crate::servers::Kind;

const BODY: &[u8] = b"something that has not changed";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Served,
    NotModified,
    Precondition,
}

use Expected::{NotModified, Precondition, Served};

/// Each condition by itself: for several at once servers differ.
fn conditions(meta: &ObjectMeta) -> Vec<(&'static str, GetOptions, Expected)> {
    let tag = meta.e_tag.clone();
    let other = Some("\"another\"");
    let then = meta.last_modified;
    let before = then - Duration::from_secs(36_000);
    // Not in the future: there it is ignored, and so would the condition be.
    let behind = then + Duration::from_secs(1);
    let new = GetOptions::new;
    vec![
        ("none", new(), Served),
        ("if match", new().with_if_match(tag.clone()), Served),
        (
            "if another matches",
            new().with_if_match(other),
            Precondition,
        ),
        (
            "if none matches",
            new().with_if_none_match(tag),
            NotModified,
        ),
        (
            "if no other matches",
            new().with_if_none_match(other),
            Served,
        ),
        (
            "if modified since",
            new().with_if_modified_since(Some(then)),
            NotModified,
        ),
        (
            "if modified since before",
            new().with_if_modified_since(Some(before)),
            Served,
        ),
        (
            "if modified since later",
            new().with_if_modified_since(Some(behind)),
            NotModified,
        ),
        (
            "if unmodified since",
            new().with_if_unmodified_since(Some(then)),
            Served,
        ),
        (
            "if unmodified since before",
            new().with_if_unmodified_since(Some(before)),
            Precondition,
        ),
        (
            "if unmodified since later",
            new().with_if_unmodified_since(Some(behind)),
            Served,
        ),
    ]
}

fn ranges() -> [Option<GetRange>; 4] {
    [
        None,
        Some(GetRange::Bounded(3..9)),
        Some(GetRange::Offset(10)),
        Some(GetRange::Suffix(7)),
    ]
}

/// What came, with everything that must be the same; and of which kind that is.
async fn answer(store: &dyn ObjectStore, path: &Path, options: GetOptions) -> (String, Expected) {
    let head = options.head;
    match store.get_opts(path, options).await {
        Ok(result) => {
            let (meta, range) = (result.meta.clone(), result.range.clone());
            let mut attributes: Vec<String> = (result.attributes.iter())
                .map(|attribute| format!("{attribute:?}"))
                .collect();
            attributes.sort();
            let mut said = format!("{meta:?}, {attributes:?}");
            if !head {
                let bytes = result.bytes().await.unwrap();
                said = format!("{said}, bytes {range:?}: {}", bytes.escape_ascii());
            }
            (said, Served)
        }
        Err(Error::NotModified { .. }) => ("not modified".into(), NotModified),
        Err(Error::Precondition { .. }) => ("precondition".into(), Precondition),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn conditions_are_answered_as_moto_answers_them() {
    let Some(server) = Kind::Moto.start().unwrap() else {
        return;
    };
    server.create_bucket("conditions").unwrap();
    let (_dir, cache) = crate::cache();
    crate::runtime().block_on(async {
        let bare = client(server.address(), "conditions");
        let path = Path::from("dir/object");
        bare.put(&path, BODY.into()).await.unwrap();
        let meta = bare.head(&path).await.unwrap();
        // Until the second after the one of the last change is over.
        tokio::time::sleep(Duration::from_millis(2_100)).await;
        for (how, policy) in [
            ("immutable", HeadPolicy::Immutable),
            ("revalidated", HeadPolicy::AlwaysRevalidate),
        ] {
            let store = through(Arc::new(bare.clone()), &cache, how, policy);
            // The first time round nothing is known of the object, but by what the conditions before have asked.
            for round in ["cold", "warm"] {
                for (name, options, expected) in conditions(&meta) {
                    check(
                        &bare,
                        &store,
                        &path,
                        &options,
                        expected,
                        &format!("{how}, {round}, {name}"),
                    )
                    .await;
                }
            }
        }
        let missing = Path::from("dir/nothing");
        let store = through(Arc::new(bare), &cache, "missing", HeadPolicy::Immutable);
        for options in [
            GetOptions::new(),
            GetOptions::new().with_if_match(Some("\"tag\"")),
        ] {
            let error = store.get_opts(&missing, options).await.unwrap_err();
            assert!(matches!(error, Error::NotFound { .. }), "{error}");
        }
    });
}

async fn check(
    bare: &dyn ObjectStore,
    store: &dyn ObjectStore,
    path: &Path,
    options: &GetOptions,
    expected: Expected,
    what: &str,
) {
    let mut all: Vec<GetOptions> = Vec::new();
    for range in ranges() {
        let mut options = options.clone();
        options.range = range;
        all.push(options);
    }
    let mut head = options.clone();
    head.head = true;
    all.push(head);
    for options in all {
        let (theirs, kind) = answer(bare, path, options.clone()).await;
        assert_eq!(kind, expected, "{what}: moto");
        let (ours, _) = answer(store, path, options.clone()).await;
        assert_eq!(
            ours, theirs,
            "{what}: {:?}, head {}",
            options.range, options.head
        );
    }
}
