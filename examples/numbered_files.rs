//! Tables of a storage engine on remote storage: files `000123.sst` that are written once, read in blocks, and deleted when a
//! compaction has replaced them.
//!
//! `cargo run --example numbered_files`

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use perennial::blocks::{
    BlockCache, BlockOptions, Origin, OriginResult, Priority, ReadOptions, Version,
};
use perennial::{Cache, ErrorKind, Options};

const BLOCK: u64 = 32 << 10;
/// 32 whole blocks and a short one.
const FILE_BYTES: u64 = (1 << 20) + 777;
/// One round trip to the storage.
const LATENCY: Duration = Duration::from_millis(2);
/// What a scan does with a block before it reads the next.
const THOUGHT: Duration = Duration::from_millis(3);

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Stands for the remote storage: slow, and it counts.
#[derive(Default)]
struct Remote {
    files: Mutex<HashMap<String, Arc<[u8]>>>,
    questions: Mutex<u64>,
    reads: Mutex<BTreeMap<Priority, u64>>,
    bytes: Mutex<u64>,
}

impl Remote {
    fn write(&self, number: u32) {
        let mut word = u64::from(number);
        let mut next = || {
            word = lcg(word);
            word.to_le_bytes()[7]
        };
        let bytes = (0..FILE_BYTES).map(|_| next()).collect();
        self.files.lock().insert(name(number), bytes);
    }

    fn file(&self, name: &str) -> Result<Arc<[u8]>, String> {
        let found = self.files.lock().get(name).cloned();
        found.ok_or_else(|| format!("{name} does not exist"))
    }

    /// Reads that somebody waited for from their begin.
    fn foreground_reads(&self) -> u64 {
        let reads = self.reads.lock();
        reads.get(&Priority::Foreground).copied().unwrap_or(0)
    }
}

impl Origin for Remote {
    fn identity(&self) -> String {
        "remote://store-1/tables".into()
    }

    /// A number is never used again, so a name has one content for ever: there is one version, which costs no question.
    fn version(&self, _: &str) -> OriginResult<Version> {
        Ok("sealed".into())
    }

    fn len(&self, name: &str) -> OriginResult<u64> {
        std::thread::sleep(LATENCY);
        *self.questions.lock() += 1;
        Ok(self.file(name)?.len() as u64)
    }

    fn read_at(
        &self,
        name: &str,
        _: &Version,
        offset: u64,
        buf: &mut [u8],
        options: &ReadOptions,
    ) -> OriginResult<usize> {
        std::thread::sleep(LATENCY);
        *self.reads.lock().entry(options.priority).or_default() += 1;
        let file = self.file(name)?;
        let rest = file.get(usize::try_from(offset)?..).unwrap_or_default();
        let bytes = rest.len().min(buf.len());
        buf[..bytes].copy_from_slice(&rest[..bytes]);
        *self.bytes.lock() += bytes as u64;
        Ok(bytes)
    }
}

fn name(number: u32) -> String {
    format!("{number:06}.sst")
}

fn lcg(word: u64) -> u64 {
    word.wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407)
}

fn main() -> Outcome {
    let dir = tempfile::tempdir()?;
    let remote = Arc::new(Remote::default());
    (1..=9).for_each(|number| remote.write(number));

    let tables = Tables::open(dir.path(), &remote)?;
    tables.point_reads("point reads, cold")?;
    tables.point_reads("point reads, warm")?;
    tables.compact()?;
    let last = FILE_BYTES / BLOCK;
    tables.scan(7, "forward", 0..=last)?;
    tables.scan(8, "backward", (0..=last).rev())?;
    tables.scan(9, "every third", (0..=last).step_by(3))?;
    tables.delete(1)?;
    println!("{}", tables.blocks.stats());
    tables.close()?;

    // The next process. It reads what is left of the hot files without a word to the storage.
    let tables = Tables::open(dir.path(), &remote)?;
    let before = (remote.foreground_reads(), *remote.questions.lock());
    tables.point_reads("point reads after a restart")?;
    let after = (remote.foreground_reads(), *remote.questions.lock());
    check(before == after, "a restart asks for nothing again")?;
    tables.close()?;
    Ok(())
}

fn check(holds: bool, what: &str) -> Outcome {
    if holds {
        return Ok(());
    }
    Err(format!("this does not hold: {what}").into())
}

/// The files, through the cache.
struct Tables {
    remote: Arc<Remote>,
    blocks: BlockCache,
}

impl Tables {
    fn open(dir: &Path, remote: &Arc<Remote>) -> Result<Self, perennial::Error> {
        let cache = Cache::open(dir, Options::new().capacity_bytes(128 << 20))?;
        let options = BlockOptions::new()
            .block_bytes(BLOCK)
            .readahead_blocks(8)
            .remember_heads(true);
        Ok(Self {
            remote: Arc::clone(remote),
            blocks: BlockCache::new(cache, Arc::clone(remote), options)?,
        })
    }

    fn close(self) -> perennial::Result<()> {
        let cache = self.blocks.cache().clone();
        drop(self.blocks);
        cache.close()
    }

    /// Reads, and holds the bytes against the file.
    fn read(&self, number: u32, offset: u64, bytes: u64, options: &ReadOptions) -> Outcome {
        let (name, end) = (name(number), FILE_BYTES.min(offset + bytes));
        let read = self.blocks.read(&name, offset..end, options)?;
        let file = self.remote.file(&name)?;
        let expected = &file[usize::try_from(offset)?..usize::try_from(end)?];
        check(read == expected, "the bytes are those of the file")
    }

    /// What queries do: a few KiB here and there, most of them in a few files.
    fn point_reads(&self, what: &str) -> Outcome {
        let before = self.blocks.stats();
        let mut word = 1;
        for _ in 0..1000 {
            word = lcg(word);
            let number = 2 + u32::from(word.to_le_bytes()[7] % 3);
            let offset = (word >> 8) % (FILE_BYTES - 4096);
            self.read(number, offset, 4096, &ReadOptions::new())?;
        }
        let now = self.blocks.stats();
        println!(
            "{what}: {} of 1000 from the cache as a whole; so far {:.1} % of all blocks, {} reads of the storage",
            now.full_hits - before.full_hits,
            100.0 * now.hit_rate(),
            now.origin_reads
        );
        let blocks = 3 * FILE_BYTES.div_ceil(BLOCK);
        check(
            now.fetched_blocks <= blocks,
            "no block of the three files is fetched twice",
        )
    }

    /// Reads its inputs once and from end to end. What is there is taken from the cache; what is not would only push out what
    /// queries need, so it is not kept, and it waits for whatever queries have to fetch.
    fn compact(&self) -> Outcome {
        let options = ReadOptions::new()
            .populate(false)
            .priority(Priority::Background);
        for number in [4, 5] {
            for offset in (0..FILE_BYTES).step_by(256 << 10) {
                self.read(number, offset, 256 << 10, &options)?;
            }
        }
        let (hot, cold) = (self.stats_of(4)?, self.stats_of(5)?);
        println!("compaction of one hot and one cold file: {hot}; {cold}");
        let kept = self.blocks.stats_of(&name(5))?.cached_blocks;
        check(kept == 0, "a compaction leaves nothing in the cache")
    }

    /// Whole blocks in some order. From the fourth on they are fetched before they are asked for.
    fn scan(&self, number: u32, how: &str, order: impl Iterator<Item = u64>) -> Outcome {
        let before = (self.remote.foreground_reads(), *self.remote.bytes.lock());
        let mut reads = 0;
        for block in order {
            self.read(number, block * BLOCK, BLOCK, &ReadOptions::new())?;
            std::thread::sleep(THOUGHT);
            reads += 1;
        }
        let waited = self.remote.foreground_reads() - before.0;
        let stats = self.stats_of(number)?;
        println!("scan {how}: {stats}; {waited} of {reads} reads went to the storage themselves");
        // On an idle machine three do: two say nothing yet, and the third is where the scan is noticed.
        check(4 * waited <= 3 * reads, "a scan finds blocks fetched ahead")?;
        let fetched = *self.remote.bytes.lock() - before.1;
        check(fetched <= FILE_BYTES, "a scan fetches no block twice")
    }

    /// The storage may be told first: whoever still reads the file has its blocks until the cache is told.
    fn delete(&self, number: u32) -> Outcome {
        let name = name(number);
        self.read(number, 0, BLOCK, &ReadOptions::new())?;
        self.remote.files.lock().remove(&name);
        let cached = self.blocks.read(&name, 0..BLOCK, &ReadOptions::new());
        check(cached.is_ok(), "what is cached outlives the file")?;
        let entries = self.blocks.invalidate(&name)?;
        println!(
            "{name} is deleted: {entries} entries of it were in the cache, its block and its length"
        );
        let gone = self.blocks.read(&name, 0..BLOCK, &ReadOptions::new());
        check(
            entries > 0 && gone.is_err_and(|error| error.kind() == ErrorKind::Origin),
            "nothing of a deleted file is served",
        )
    }

    fn stats_of(&self, number: u32) -> perennial::Result<String> {
        let stats = self.blocks.stats_of(&name(number))?;
        Ok(format!(
            "{}: {:.1} % of the blocks read were there, {} of {} are now",
            name(number),
            100.0 * stats.hit_rate(),
            stats.cached_blocks,
            stats.total_blocks
        ))
    }
}
