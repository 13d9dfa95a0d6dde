//! Every precondition with every kind of range: the answer is that of the store below.

use std::mem::{Discriminant, discriminant};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};

use super::{POLICIES, content, over, part, read};
use crate::object_store::memory::InMemory;
use crate::object_store::path::Path;
use crate::object_store::{
    Attribute, Attributes, DynObjectStore, Error, GetOptions, GetRange, ObjectMeta, ObjectStore,
    ObjectStoreExt,
};

const LEN: u64 = 10_000;

#[derive(Debug, PartialEq)]
enum Answer {
    Found {
        meta: ObjectMeta,
        range: Range<u64>,
        attributes: Attributes,
        bytes: Bytes,
    },
    Refused(Discriminant<Error>),
}

async fn answer(store: &DynObjectStore, location: &Path, options: &GetOptions) -> Answer {
    let found = match store.get_opts(location, options.clone()).await {
        Ok(found) => found,
        Err(error) => return Answer::Refused(discriminant(&error)),
    };
    let (meta, range) = (found.meta.clone(), found.range.clone());
    let attributes = found.attributes.clone();
    // What the body of a request for the head is differs between the stores.
    let bytes = match options.head {
        true => Bytes::new(),
        false => found.bytes().await.unwrap(),
    };
    Answer::Found {
        meta,
        range,
        attributes,
        bytes,
    }
}

fn tags(tag: &str) -> [Option<String>; 5] {
    let other = "\"other\"";
    [
        None,
        Some(tag.into()),
        Some("*".into()),
        Some(other.into()),
        Some(format!("{other}, {tag}")),
    ]
}

fn times(time: DateTime<Utc>) -> [Option<DateTime<Utc>>; 4] {
    let hour = TimeDelta::hours(1);
    [None, Some(time - hour), Some(time), Some(time + hour)]
}

fn ranges() -> Vec<Option<GetRange>> {
    let mut ranges = vec![None, Some(GetRange::Bounded(Range { start: 6, end: 5 }))];
    for (start, end) in [
        (0, 1),
        (100, 5000),
        (5, 5),
        (0, LEN),
        (LEN - 1, 2 * LEN),
        (LEN, LEN + 1),
        (0, u64::MAX),
        (u64::MAX - 1, u64::MAX),
    ] {
        ranges.push(Some(GetRange::Bounded(start..end)));
    }
    for n in [0, 1, LEN - 1, LEN, LEN + 1, u64::MAX] {
        ranges.push(Some(GetRange::Offset(n)));
        ranges.push(Some(GetRange::Suffix(n)));
    }
    ranges
}

/// All preconditions of an object, each with each.
fn conditions(meta: &ObjectMeta) -> Vec<GetOptions> {
    let tag = meta.e_tag.as_deref().unwrap();
    let mut conditions = Vec::new();
    for if_match in tags(tag) {
        for if_none_match in tags(tag) {
            for if_modified_since in times(meta.last_modified) {
                for if_unmodified_since in times(meta.last_modified) {
                    conditions.push(GetOptions {
                        if_match: if_match.clone(),
                        if_none_match: if_none_match.clone(),
                        if_modified_since,
                        if_unmodified_since,
                        ..GetOptions::default()
                    });
                }
            }
        }
    }
    conditions
}

async fn memory(location: &Path) -> Arc<InMemory> {
    let inner = Arc::new(InMemory::new());
    let attributes = Attributes::from_iter([
        (Attribute::ContentType, "text/plain"),
        (Attribute::Metadata("key".into()), "value"),
    ]);
    let payload = content(1, usize::try_from(LEN).unwrap()).into();
    inner
        .put_opts(location, payload, attributes.into())
        .await
        .unwrap();
    inner
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_answers_are_those_of_the_store_below() {
    let location = Path::from("a/b");
    let inner = memory(&location).await;
    let meta = inner.head(&location).await.unwrap();
    let conditions = conditions(&meta);
    assert_eq!(conditions.len(), 400);
    for policy in POLICIES {
        let cached = over(Arc::clone(&inner), policy);
        for options in &conditions {
            for head in [false, true] {
                let options = GetOptions {
                    head,
                    ..options.clone()
                };
                let expected = answer(&inner, &location, &options).await;
                let given = answer(&cached, &location, &options).await;
                assert_eq!(given, expected, "{policy:?}: {options:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_range_is_cut_or_refused_as_by_the_store_below() {
    let location = Path::from("a/b");
    let inner = memory(&location).await;
    let tag = inner.head(&location).await.unwrap().e_tag;
    for policy in POLICIES {
        for if_match in [None, tag.clone(), Some("\"other\"".into())] {
            // Of what is known already, and of an object that is opened by this range.
            let cached = over(Arc::clone(&inner), policy);
            for range in ranges() {
                let options = GetOptions {
                    range,
                    if_match: if_match.clone(),
                    ..GetOptions::default()
                };
                let expected = answer(&inner, &location, &options).await;
                let given = answer(&cached, &location, &options).await;
                assert_eq!(given, expected, "{policy:?}: {options:?}");
                let opened = over(Arc::clone(&inner), policy);
                let given = answer(&opened, &location, &options).await;
                assert_eq!(given, expected, "opened, {policy:?}: {options:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_exist_is_not_found_whatever_is_asked() {
    let inner = memory(&Path::from("a/b")).await;
    let absent = Path::from("absent");
    for policy in POLICIES {
        let cached = over(Arc::clone(&inner), policy);
        for range in ranges() {
            for if_match in tags("\"0\"") {
                let options = GetOptions {
                    range: range.clone(),
                    if_match,
                    ..GetOptions::default()
                };
                let given = cached.get_opts(&absent, options).await;
                assert!(matches!(given, Err(Error::NotFound { .. })), "{given:?}");
            }
        }
        let given = cached.get_ranges(&absent, &[0..1, 5000..9000]).await;
        assert!(matches!(given, Err(Error::NotFound { .. })), "{given:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_ranges_are_those_of_the_store_below() {
    let location = Path::from("a/b");
    let inner = memory(&location).await;
    let lists: [&[Range<u64>]; 7] = [
        &[0..1, 2..3, 0..5],
        &[9_000..9_010, 0..10, 4_000..4_001, 9_005..10_000],
        &[0..10_000, 5..6],
        &[9_999..20_000, 0..1],
        &[0..1, 10_000..10_001],
        &[0..u64::MAX, 7..8],
        &[u64::MAX - 1..u64::MAX, 0..1],
    ];
    for policy in POLICIES {
        for ranges in lists {
            let cached = over(Arc::clone(&inner), policy);
            for _ in 0..2 {
                let expected = inner.get_ranges(&location, ranges).await.ok();
                let given = cached.get_ranges(&location, ranges).await.ok();
                assert_eq!(given, expected, "{policy:?}: {ranges:?}");
            }
        }
    }
}

/// Stores that read neighbours as one answer them, and so does the cache over those that do not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_ranges_of_no_bytes_there_is_nothing_to_refuse() {
    let location = Path::from("a/b");
    let inner = memory(&location).await;
    let whole = read(&*inner, &location).await;
    let len = whole.len() as u64;
    for policy in POLICIES {
        let cached = over(Arc::clone(&inner), policy);
        for ranges in [
            vec![3..3, 0..1],
            vec![len..len, 0..0, 9_000..9_001],
            vec![len..len, len..len],
        ] {
            let given = cached.get_ranges(&location, &ranges).await.unwrap();
            let expected: Vec<_> = ranges
                .into_iter()
                .map(|range| part(&whole, range))
                .collect();
            assert_eq!(given, expected, "{policy:?}");
        }
        let behind = Range {
            start: len + 1,
            end: len + 1,
        };
        cached
            .get_ranges(&location, &[0..1, behind])
            .await
            .unwrap_err();
    }
}
