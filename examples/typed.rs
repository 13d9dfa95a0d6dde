//! Keys and values of the program's own types, and what becomes of them when a type changes.
//!
//! `cargo run --example typed`

use std::error::Error;
use std::path::Path;

use perennial::{Cache, Options, TypedCache};
use serde::{Deserialize, Serialize};

/// A number and a language: whatever serde can write may be a key.
type PageKey = (u64, String);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Page {
    title: String,
    links: Vec<u64>,
}

/// The same in the program's next release.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct PageWithAuthor {
    author: String,
    title: String,
    links: Vec<u64>,
}

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> Outcome {
    let dir = tempfile::tempdir()?;
    let key = (7, "en".to_owned());
    store(dir.path(), &key)?;
    read_again(dir.path(), &key)?;
    read_as_another_type(dir.path(), &key)
}

fn open(dir: &Path) -> perennial::Result<Cache> {
    Cache::open(dir, Options::new().capacity_bytes(64 << 20))
}

fn page() -> Page {
    Page {
        title: "Evergreen".into(),
        links: vec![1, 2, 3],
    }
}

fn store(dir: &Path, key: &PageKey) -> Outcome {
    let pages: TypedCache<PageKey, Page> = TypedCache::new(open(dir)?);
    pages.insert(key, &page())?;
    // One fetch however many callers wait, as with bytes.
    let fetched = pages.get_or_fetch(&(8, "en".into()), || {
        Ok::<_, Box<dyn Error + Send + Sync>>(page())
    })?;
    check(fetched == page(), "what is fetched is handed out")?;
    pages.cache().clone().close()?;
    Ok(())
}

fn read_again(dir: &Path, key: &PageKey) -> Outcome {
    let pages: TypedCache<PageKey, Page> = TypedCache::new(open(dir)?);
    let found = pages.get(key)?;
    println!("after a restart: {found:?}");
    check(found == Some(page()), "a page comes back as it was")?;
    check(
        pages.get(&(7, "de".into()))?.is_none(),
        "another key is another page",
    )?;
    pages.cache().clone().close()?;
    Ok(())
}

/// What does not decode as the new type is a miss, so it is fetched again and stored as that.
fn read_as_another_type(dir: &Path, key: &PageKey) -> Outcome {
    let pages: TypedCache<PageKey, PageWithAuthor> = TypedCache::new(open(dir)?);
    check(
        pages.get(key)?.is_none(),
        "a page of another type is a miss",
    )?;
    let fetch = || {
        Ok::<_, Box<dyn Error + Send + Sync>>(PageWithAuthor {
            author: "nobody".into(),
            title: "Evergreen".into(),
            links: Vec::new(),
        })
    };
    let page = pages.get_or_fetch(key, fetch)?;
    println!("as the next release has it: {page:?}");
    check(
        pages.get(key)? == Some(page),
        "it is stored as the new type",
    )?;
    pages.cache().clone().close()?;
    Ok(())
}

fn check(holds: bool, what: &str) -> Outcome {
    if holds {
        return Ok(());
    }
    Err(format!("this does not hold: {what}").into())
}
