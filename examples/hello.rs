//! Opens a cache, uses every kind of write and read once, and shows that a second open is warm.
//!
//! `cargo run --example hello -- /tmp/hello-cache`

use perennial::{Cache, Options};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "hello-cache".into());
    let cache = Cache::open(&path, Options::new().capacity_bytes(64 << 20))?;
    match cache.get("greeting")? {
        Some(greeting) => println!("warm: {}", String::from_utf8_lossy(&greeting)),
        None => println!("cold: this is the first run in {path}"),
    }
    cache.insert("greeting", "hello from an earlier run")?;
    cache.insert_durable("kept", "this one survives a power cut already")?;
    cache.insert_with_len("counted", 16, |bytes| {
        bytes.fill(b'*');
        Ok::<_, std::io::Error>(())
    })?;
    cache.remove("forgotten")?;
    cache.flush()?;
    println!("{}", cache.stats());
    cache.close()?;
    Ok(())
}
