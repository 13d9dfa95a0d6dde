//! A raw disk image behind HTTP as a block device: read-only, through the cache, and still warm after a restart.
//!
//! `cargo run --example block_device` serves an image to itself. To read one from a server that gives ranges and strong
//! `ETag`s, as nginx and Caddy do: `cargo run --example block_device http://127.0.0.1:8000/disk.img`

#![expect(
    clippy::disallowed_methods,
    reason = "threads and times of an example, not of the cache"
)]

mod device;
mod http;
mod origin;
mod server;

use std::io::{self, Cursor, IsTerminal, Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use perennial::blocks::{BlockCache, BlockOptions, Progress};
use perennial::{Cache, Options};

use device::BlockDevice;
use http::Url;
use origin::HttpOrigin;

/// So much of the image is fetched before anybody asks for it.
const AHEAD_BYTES: u64 = 8 << 20;
/// Reads that are no sectors, at places all over the image.
const ODD_READS: u32 = 64;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let (url, expected) = match std::env::args().nth(1) {
        // Nobody here knows what is in it: the first read is what the others are held against.
        Some(url) => (url, None),
        None => {
            let image = server::image();
            let checksum = read_all_over(&mut Cursor::new(&image))?;
            (server::serve(image)?, Some(checksum))
        }
    };
    let url = Url::parse(&url)?;
    let dir = tempfile::tempdir()?;

    let mut disk = Disk::open(dir.path(), &url)?;
    disk.introduce(&url, expected.is_some())?;
    disk.fetch_ahead()?;
    let cold = disk.pass("cold")?;
    let warm = disk.pass("warm")?;
    disk.close()?;

    let mut disk = Disk::open(dir.path(), &url)?;
    let restarted = disk.pass("after a restart")?;
    disk.close()?;

    let checksum = expected.unwrap_or(cold.checksum);
    for pass in [&cold, &warm, &restarted] {
        check(pass.checksum == checksum, "all passes read the same bytes")?;
    }
    check(
        warm.requests + restarted.requests == 0,
        "what was read once is not asked for again",
    )
}

fn check(holds: bool, what: &str) -> Outcome<()> {
    if holds {
        return Ok(());
    }
    Err(format!("this does not hold: {what}").into())
}

/// What a pass over the image gave, and what it cost the server.
struct Pass {
    checksum: u32,
    requests: u64,
}

/// The cache, where it gets its blocks from, and the device over both.
struct Disk {
    cache: Cache,
    origin: Arc<HttpOrigin>,
    device: BlockDevice,
}

impl Disk {
    fn open(dir: &Path, url: &Url) -> Outcome<Self> {
        let cache = Cache::open(dir, Options::new().capacity_bytes(256 << 20))?;
        let origin = Arc::new(HttpOrigin::new(&url.authority));
        // Remembered heads are why a restart asks for nothing, not even for the version. What this program reads in order it
        // has fetched before: no readahead, so the counts are exact.
        let options = BlockOptions::new()
            .block_bytes(64 << 10)
            .fetch_bytes_max(1 << 20)
            .remember_heads(true)
            .readahead_blocks(0);
        let blocks = BlockCache::new(cache.clone(), Arc::clone(&origin), options)?;
        let device = BlockDevice::open(blocks, &url.path, 512)?;
        Ok(Self {
            cache,
            origin,
            device,
        })
    }

    /// What is known once it is open. `own`: it is the image of this program.
    fn introduce(&self, url: &Url, own: bool) -> Outcome<()> {
        let requests = self.origin.requests();
        let mut boot = [0; 512];
        self.device.read_sectors(0, &mut boot)?;
        let signed = boot.ends_with(&server::BOOT_SIGNATURE);
        println!(
            "{url}: {} sectors of 512 bytes, {} boot signature; opened with {requests} requests",
            self.device.sectors(),
            if signed { "with a" } else { "without" },
        );
        check(signed || !own, "the first sector ends as it should")?;
        // A server of others may need one more.
        check(
            requests == 1 || !own,
            "one answer has the version, the length and the first block",
        )
    }

    /// With a line on the terminal that says how far it has come.
    fn fetch_ahead(&self) -> Outcome<()> {
        let shown = io::stderr().is_terminal();
        let show = |now: Progress| {
            if shown {
                let (done, total) = (now.done_blocks, now.total_blocks);
                eprint!("\rfetching ahead: {done} of {total} blocks");
            }
            ControlFlow::Continue(())
        };
        let bytes = AHEAD_BYTES.min(self.device.len());
        let done = self.device.ensure_cached(0..bytes, show)?;
        if shown {
            eprintln!();
        }
        check(done.is_complete(), "every block of the range is kept")
    }

    fn pass(&mut self, name: &str) -> Outcome<Pass> {
        let began = Instant::now();
        let checksum = read_all_over(&mut self.device)?;
        let took_ms = began.elapsed().as_millis();
        // The first pass has the opening and the fetching ahead on its account.
        let (requests, bytes) = self.origin.take_counts();
        let kib = bytes.div_ceil(1 << 10);
        println!(
            "{name}: checksum {checksum:08x} in {took_ms} ms; {requests} requests to the server, {kib} KiB from it"
        );
        Ok(Pass { checksum, requests })
    }

    fn close(self) -> perennial::Result<()> {
        // The device's threads end with it; then nobody uses the cache any more.
        drop(self.device);
        self.cache.close()
    }
}

/// Reads as a file system might: the beginning in order, then here and there. It takes whatever reads and seeks; the
/// checksum is that of all bytes in the order they were read.
fn read_all_over(disk: &mut (impl Read + Seek)) -> io::Result<u32> {
    let len = disk.seek(SeekFrom::End(0))?;
    let mut checksum = crc32fast::Hasher::new();
    let mut buf = vec![0; 128 << 10];
    disk.rewind()?;
    let mut beginning = disk.by_ref().take(AHEAD_BYTES);
    loop {
        let read = beginning.read(&mut buf)?;
        if read == 0 {
            break;
        }
        checksum.update(&buf[..read]);
    }
    let mut random = 1_u64;
    for _ in 0..ODD_READS {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        disk.seek(SeekFrom::Start((random >> 16) % len))?;
        let read = disk.read(&mut buf[..1234])?;
        checksum.update(&buf[..read]);
    }
    Ok(checksum.finalize())
}
