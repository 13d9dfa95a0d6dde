//! A typed face reads back what it stored, and says so where it cannot.

use std::collections::BTreeMap;

use perennial::{Cache, ErrorKind, TypedCache};
use perennial_failpoints::SimFs;
use serde::{Deserialize, Serialize};

use crate::small;

fn cache() -> Cache {
    small::open(&SimFs::new(1), small::options()).unwrap()
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Flat {
    /// serde writes this as a map that does not know its length.
    #[serde(flatten)]
    rest: BTreeMap<String, String>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u32),
    Text(String),
}

#[test]
fn a_value_that_cannot_be_encoded_is_refused() {
    let typed: TypedCache<u32, Flat> = TypedCache::new(cache());
    let value = || Flat {
        rest: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
    };
    let refused = typed.insert(&1, &value()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused}");
    assert!(typed.get(&1).unwrap().is_none());
    // What was fetched is handed out all the same.
    let fetched = typed.get_or_fetch(&1, || Ok::<_, String>(value()));
    assert_eq!(fetched.unwrap(), value());
}

#[test]
fn a_value_larger_than_any_segment_is_refused() {
    let typed: TypedCache<u32, Vec<u8>> = TypedCache::new(cache());
    for bytes in [10 << 10, 65 << 20] {
        let refused = typed.insert(&1, &vec![0; bytes]).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused}");
    }
}

#[test]
fn a_value_of_another_type_is_fetched_anew() {
    let cache = cache();
    let old: TypedCache<u32, String> = TypedCache::new(cache.clone());
    let new: TypedCache<u32, Vec<u64>> = TypedCache::new(cache);
    old.insert(&1, &"one".to_owned()).unwrap();
    assert_eq!(new.get(&1).unwrap(), None);
    let fetch = || Ok::<_, String>(vec![1]);
    assert_eq!(new.get_or_fetch(&1, fetch).unwrap(), [1]);
    assert_eq!(new.get(&1).unwrap().unwrap(), [1]);
    // A newer insert is not overwritten by what was fetched.
    old.insert(&2, &"two".to_owned()).unwrap();
    let fetched = new.get_or_fetch(&2, || {
        new.insert(&2, &vec![9]).unwrap();
        Ok::<_, String>(vec![2])
    });
    assert_eq!(fetched.unwrap(), [2]);
    assert_eq!(new.get(&2).unwrap().unwrap(), [9]);
}

#[test]
fn a_fetch_returns_what_was_fetched_though_its_type_cannot_be_read_back() {
    let typed: TypedCache<u32, Untagged> = TypedCache::new(cache());
    for _ in 0..2 {
        let fetched = typed.get_or_fetch(&1, || Ok::<_, String>(Untagged::Text("x".to_owned())));
        assert_eq!(fetched.unwrap(), Untagged::Text("x".to_owned()));
    }
}
