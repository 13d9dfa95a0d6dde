//! One life of a churn: reads through a cache, by keys of which few are asked for often.

use std::io::{self, Write};
use std::path::Path;

use perennial::{Cache, Options};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand_distr::{Distribution, Zipf};
use serde::{Deserialize, Serialize};

use crate::args::Life;
use crate::clock::timed;
use crate::failure::Failure;
use crate::model::hash;

/// What a life says of itself.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Told {
    pub(super) requests: u64,
    pub(super) hits: u64,
    pub(super) inserted_bytes: u64,
    pub(super) rss_bytes: u64,
    pub(super) open_ms: u64,
}

/// All keys together take so many times the capacity.
const FOOTPRINT: u64 = 8;
const LEAST_VALUE_BYTES: u64 = 2 << 10;
const MOST_VALUE_BYTES: u64 = 64 << 10;
const SKEW: f64 = 0.9;

struct Churner {
    cache: Cache,
    keys: Zipf<f64>,
    rng: SmallRng,
    bytes: Vec<u8>,
    told: Told,
}

pub(crate) fn run(args: &Life) -> Result<(), Failure> {
    let options = Options::new()
        .capacity_bytes(args.capacity)
        .memory_tier_bytes(args.capacity / 32);
    let (cache, took) = timed(|| Cache::open(&args.dir, options));
    let cache = cache?;
    let open_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    check_ledger(&cache, &args.dir, args.capacity)?;
    let mean = u64::midpoint(LEAST_VALUE_BYTES, MOST_VALUE_BYTES);
    let keys = crate::report::float(FOOTPRINT * args.capacity / mean);
    let mut churner = Churner {
        cache,
        keys: Zipf::new(keys, SKEW).map_err(|why| Failure::Churn(why.to_string()))?,
        rng: SmallRng::seed_from_u64(args.number),
        bytes: Vec::new(),
        told: Told {
            requests: 0,
            hits: 0,
            inserted_bytes: 0,
            rss_bytes: 0,
            open_ms,
        },
    };
    while churner.told.inserted_bytes < args.bytes {
        churner.request()?;
    }
    check_ledger(&churner.cache, &args.dir, args.capacity)?;
    churner.told.rss_bytes = rss_bytes()?;
    let line = serde_json::to_string(&churner.told)?;
    writeln!(io::stdout(), "{line}").map_err(Failure::Output)?;
    if args.until_killed {
        loop {
            churner.request()?;
        }
    }
    Ok(churner.cache.close()?)
}

impl Churner {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a whole number of keys"
    )]
    fn request(&mut self) -> Result<(), Failure> {
        let key = self.keys.sample(&mut self.rng) as u64;
        self.told.requests += 1;
        let wanted = value_bytes(key);
        if let Some(found) = self.cache.get(key.to_le_bytes())? {
            self.told.hits += 1;
            let right = found.len() as u64 == wanted && found.starts_with(&key.to_le_bytes());
            return if right {
                Ok(())
            } else {
                Err(Failure::Churn(format!("key {key} has a wrong value")))
            };
        }
        self.bytes.clear();
        self.bytes
            .resize(usize::try_from(wanted).unwrap_or(8), 0x5a);
        self.bytes[..8].copy_from_slice(&key.to_le_bytes());
        self.cache.insert(key.to_le_bytes(), &self.bytes)?;
        self.told.inserted_bytes += wanted;
        Ok(())
    }
}

fn value_bytes(key: u64) -> u64 {
    LEAST_VALUE_BYTES + hash(key) % (MOST_VALUE_BYTES - LEAST_VALUE_BYTES)
}

#[expect(
    clippy::disallowed_methods,
    reason = "looks at real files from outside of the cache"
)]
fn bytes_of_files(dir: &Path) -> Result<u64, Failure> {
    let failed = |source| Failure::File {
        path: dir.to_owned(),
        source,
    };
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        bytes += entry.metadata().map_err(failed)?.len();
    }
    Ok(bytes)
}

/// Every byte of every file is the ledger's, and they are within the capacity.
fn check_ledger(cache: &Cache, dir: &Path, capacity: u64) -> Result<(), Failure> {
    // A segment may be made between the two.
    for _ in 0..10 {
        let (ledger, files) = (cache.ledger()?.total_bytes(), bytes_of_files(dir)?);
        if ledger == files {
            return if files <= capacity {
                Ok(())
            } else {
                Err(Failure::Churn(format!(
                    "{files} bytes are more than the capacity of {capacity}"
                )))
            };
        }
    }
    let (ledger, files) = (cache.ledger()?.total_bytes(), bytes_of_files(dir)?);
    Err(Failure::Churn(format!(
        "the ledger says {ledger} bytes, the files have {files}"
    )))
}

fn rss_bytes() -> Result<u64, Failure> {
    let path = Path::new("/proc/self/statm");
    let failed = |source| Failure::File {
        path: path.to_owned(),
        source,
    };
    let pages = std::fs::read_to_string(path).map_err(failed)?;
    let pages = pages.split(' ').nth(1).and_then(|n| n.parse::<u64>().ok());
    Ok(pages.unwrap_or(0) * 4096)
}
