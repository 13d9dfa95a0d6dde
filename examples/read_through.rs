//! A slow origin behind the cache: eight threads ask for the same objects, each object is fetched once.
//!
//! `cargo run --example read_through`

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use perennial::{Cache, Options};

static DOWNLOADS: AtomicU64 = AtomicU64::new(0);

/// Stands for an object store: slow, and sometimes it fails.
fn download(name: &str) -> Result<Vec<u8>, std::io::Error> {
    std::thread::sleep(Duration::from_millis(20));
    DOWNLOADS.fetch_add(1, Ordering::Relaxed);
    if name.ends_with("13") {
        return Err(std::io::Error::other("the origin has no object 13"));
    }
    Ok(format!("contents of {name}").repeat(1000).into_bytes())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let cache = Cache::open(dir.path(), Options::new().capacity_bytes(256 << 20))?;
    std::thread::scope(|threads| {
        for _ in 0..8 {
            threads.spawn(|| {
                for n in 0..20 {
                    let name = format!("object/{n}");
                    match cache.get_or_fetch(&name, || download(&name)) {
                        Ok(value) => assert!(value.starts_with(b"contents of")),
                        Err(error) => assert_eq!(error.kind(), perennial::ErrorKind::Origin),
                    }
                }
            });
        }
    });
    println!(
        "{} downloads for 160 reads of 20 objects, one of which fails",
        DOWNLOADS.load(Ordering::Relaxed)
    );
    println!("{}", cache.stats());
    Ok(())
}
