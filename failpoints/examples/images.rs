//! How many machines a second a power loss makes of a directory of 64 KiB, eight files, a part of it unsynced.

use std::path::Path;
use std::time::Duration;

use perennial_failpoints::{Fs, OpenMode, SimFs, StdFs};

const FILES: u64 = 8;
const FILE_BYTES: usize = 8 << 10;

/// A directory of which each file has a write of three sectors that was not synced, and one file a map.
fn machine() -> std::io::Result<SimFs> {
    let fs = SimFs::new(1);
    fs.create_dir_all(Path::new("/store"))?;
    let dir = fs.open_dir(Path::new("/store"))?;
    for n in 0..FILES {
        let file = dir.open(&n.to_string(), OpenMode::CreateNew)?;
        file.write_at(&[1; FILE_BYTES], 0)?;
        file.sync_data()?;
        file.write_at(&[2; 1536], 512 * n)?;
    }
    dir.sync()?;
    dir.open("0", OpenMode::ReadWrite)?.map(4096)?;
    Ok(fs)
}

fn per_second(make: impl Fn(u64) -> SimFs) -> u64 {
    let start = StdFs.monotonic_ns();
    let mut made = 0;
    loop {
        std::hint::black_box(make(made));
        made += 1;
        let elapsed = Duration::from_nanos(StdFs.monotonic_ns() - start);
        if elapsed > Duration::from_secs(1) {
            return made * 1000 / u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        }
    }
}

fn main() -> std::io::Result<()> {
    let fs = machine()?;
    let pending = fs.pending_effects();
    println!("{FILES} files of {FILE_BYTES} bytes, {pending} effects pending; images per second:");
    println!(
        "  power loss, by seed      {:>9}",
        per_second(|n| fs.power_loss(n))
    );
    println!(
        "  power loss, by subset    {:>9}",
        per_second(|n| fs.power_loss_keeping(n))
    );
    println!(
        "  SIGKILL                  {:>9}",
        per_second(|_| fs.process_crash())
    );
    Ok(())
}
