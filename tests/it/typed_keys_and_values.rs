//! Keys and values of the caller's types come back as they were.

use std::collections::BTreeMap;
use std::convert::Infallible;

use perennial::{Cache, TypedCache};
use perennial_failpoints::SimFs;
use serde::{Deserialize, Serialize};

use crate::small;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Tile {
    zoom: u8,
    name: Option<String>,
    tags: BTreeMap<String, u64>,
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
