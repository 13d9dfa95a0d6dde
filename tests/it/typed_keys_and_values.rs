//! Keys and values of the caller's types come back as they were; what cannot be encoded is refused, not a panic.

use std::collections::BTreeMap;
use std::convert::Infallible;

use perennial::{Cache, ErrorKind, TypedCache};
use perennial_failpoints::SimFs;
use serde::{Deserialize, Serialize};

use crate::small;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Tile {
    zoom: u8,
    name: Option<String>,
    tags: BTreeMap<String, u64>,
}

/// Written as a map of a length that serde does not know before.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Flattened {
    #[serde(flatten)]
    rest: BTreeMap<String, u64>,
}

fn tile(zoom: u8) -> Tile {
    Tile {
        zoom,
        name: Some("north".into()),
        tags: BTreeMap::from([("height".into(), 7)]),
    }
}

fn open() -> Cache {
    small::open(&SimFs::new(1), small::options()).unwrap()
}

#[test]
fn they_come_back_as_they_were() {
    let cache: TypedCache<(u32, String), Tile> = TypedCache::new(open());
    let key = |n: u32| (n, "key".to_owned());
    cache.insert(&key(1), &tile(1)).unwrap();
    cache.insert_durable(&key(2), &tile(2)).unwrap();
    assert_eq!(cache.get(&key(1)).unwrap(), Some(tile(1)));
    assert_eq!(cache.clone().get(&key(2)).unwrap(), Some(tile(2)));
    let fetched = cache.get_or_fetch(&key(3), || Ok::<_, Infallible>(tile(3)));
    assert_eq!(fetched.unwrap(), tile(3));
    assert_eq!(cache.get(&key(3)).unwrap(), Some(tile(3)));
    cache.remove(&key(1)).unwrap();
    cache.remove_durable(&key(2)).unwrap();
    assert!(!cache.contains(&key(1)).unwrap() && !cache.contains(&key(2)).unwrap());
    assert!(cache.contains(&key(3)).unwrap());
}

#[test]
fn a_value_of_another_type_is_a_miss() {
    let cache = open();
    TypedCache::new(cache.clone()).insert(&1, &7_u8).unwrap();
    let other: TypedCache<i32, Tile> = TypedCache::new(cache);
    assert_eq!(other.get(&1).unwrap(), None);
    let error = other.get_or_fetch(&1, || Ok::<_, Infallible>(tile(1)));
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn what_cannot_be_encoded_is_refused() {
    let cache: TypedCache<u32, Flattened> = TypedCache::new(open());
    let value = || Flattened {
        rest: BTreeMap::from([("height".into(), 7)]),
    };
    let error = cache.insert(&1, &value()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    let error = cache.get_or_fetch(&1, || Ok::<_, Infallible>(value()));
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Origin);
    assert_eq!(cache.get(&1).unwrap(), None);
}
