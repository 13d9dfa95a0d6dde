//! The device: unbuffered sequential writes into files written before, and appends of 4 KiB with a sync each.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::aligned::{ALIGNMENT, Aligned};
use crate::failure::Result;
use crate::measure::latency::Latency;

/// One write.
const CHUNK_BYTES: u64 = 4 << 20;

fn unbuffered(path: &Path) -> Result<File> {
    let flags = rustix::fs::OFlags::DIRECT.bits() as i32;
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create(true).truncate(false);
    Ok(options.custom_flags(flags).open(path)?)
}

/// Bytes a second of sequential writes, one or two of them at a time, whichever is quicker.
pub(crate) fn sequential_write(
    dir: &Path,
    file_bytes: u64,
    bytes: u64,
    limit: Duration,
) -> Result<f64> {
    let file = unbuffered(&dir.join("device"))?;
    let file_bytes = file_bytes.next_multiple_of(CHUNK_BYTES);
    // The first lap turns reserved space into written space, and is not what a recycled file costs.
    write(&file, file_bytes, file_bytes, 1, Duration::MAX)?;
    let alone = write(&file, file_bytes, bytes, 1, limit)?;
    let pair = write(&file, file_bytes, bytes, 2, limit)?;
    Ok(alone.max(pair))
}

fn write(file: &File, file_bytes: u64, bytes: u64, writers: usize, limit: Duration) -> Result<f64> {
    let (next, written) = (AtomicU64::new(0), AtomicU64::new(0));
    let started = Instant::now();
    let one = || -> Result<()> {
        let memory = Aligned::new(CHUNK_BYTES as usize);
        while started.elapsed() < limit {
            let at = next.fetch_add(CHUNK_BYTES, Ordering::Relaxed);
            if at >= bytes {
                break;
            }
            file.write_all_at(memory.get(), at % file_bytes)?;
            written.fetch_add(CHUNK_BYTES, Ordering::Relaxed);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..writers).map(|_| scope.spawn(one)).collect();
        let mut result = one();
        for other in others {
            result = result.and(other.join().expect("a writer panicked"));
        }
        result
    })?;
    file.sync_data()?;
    Ok(written.into_inner() as f64 / started.elapsed().as_secs_f64())
}

/// Appends of 4 KiB to written space, each followed by `fdatasync`, for so long.
pub(crate) fn synced_appends(dir: &Path, limit: Duration) -> Result<(f64, Latency)> {
    let file = unbuffered(&dir.join("device"))?;
    let file_bytes = 64 << 20;
    write(&file, file_bytes, file_bytes, 1, Duration::MAX)?;
    let memory = Aligned::new(ALIGNMENT);
    let mut latency = Latency::every(1);
    let started = Instant::now();
    while started.elapsed() < limit {
        let at = latency.calls() * ALIGNMENT as u64 % file_bytes;
        latency.time(|| {
            file.write_all_at(memory.get(), at)
                .and_then(|()| file.sync_data())
        })?;
    }
    Ok((
        latency.calls() as f64 / started.elapsed().as_secs_f64(),
        latency,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_end_and_count() {
        let dir = tempfile::tempdir_in(".").unwrap();
        let second = Duration::from_secs(1);
        assert!(sequential_write(dir.path(), 8 << 20, 16 << 20, second).unwrap() > 0.0);
        let (rate, latency) = synced_appends(dir.path(), Duration::from_millis(50)).unwrap();
        assert!(rate > 0.0 && latency.calls() > 0);
    }
}
