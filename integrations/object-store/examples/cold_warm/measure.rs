//! The reads that are timed.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use os14::{ObjectStore, ObjectStoreExt};
use perennial::{Cache, ErrorKind, Options};
use perennial_object_store::HeadPolicy;
use perennial_object_store::v0_14::CachedObjectStore;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::site::{Draw, Object, Site};
use crate::{Failure, KIB, MIB};

/// Of the cache, by default.
const BLOCK: u64 = 64 * KIB;
const CAPACITY: u64 = 2 << 30;

/// One read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) took: Duration,
    /// Of the server.
    pub(crate) requests: u64,
}

/// The reads of one size.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    pub(crate) direct: Vec<Sample>,
    /// The first read of an object, of which the cache knows nothing.
    pub(crate) unknown: Vec<Sample>,
    /// Version and length are known, and none of the blocks.
    pub(crate) known: Vec<Sample>,
    /// Half of the blocks are there, in one piece, or from 1 MiB on in two with a gap behind each.
    pub(crate) half: Vec<Sample>,
    pub(crate) warm: Vec<Sample>,
}

/// Where a read goes.
#[derive(Debug, Clone)]
struct Place {
    object: usize,
    range: Range<u64>,
}

pub(crate) struct Bench<'a> {
    site: &'a Site,
    dir: TempDir,
    cache: Cache,
    draw: Draw,
    fresh: u64,
    /// What was read cold, for reading it again when the cache was closed and opened: the size, as whose, and where.
    kept: Vec<(u64, String, Place)>,
}

impl<'a> Bench<'a> {
    pub(crate) fn open(site: &'a Site) -> Result<Self, Failure> {
        let dir = tempfile::tempdir()?;
        let cache = open(&dir)?;
        Ok(Self {
            site,
            dir,
            cache,
            draw: Draw(7),
            fresh: 0,
            kept: Vec::new(),
        })
    }

    /// Reads of one size: direct and cold ones in turn, each at another place. A round that does not count goes before.
    pub(crate) async fn size(&mut self, bytes: u64, repeats: u32) -> Result<Samples, Failure> {
        self.round(bytes, &mut Samples::default()).await?;
        let mut samples = Samples::default();
        for _ in 0..repeats {
            self.round(bytes, &mut samples).await?;
        }
        Ok(samples)
    }

    async fn round(&mut self, bytes: u64, samples: &mut Samples) -> Result<(), Failure> {
        let site = self.site;
        self.direct(bytes, samples).await?;
        let (identity, store) = self.fresh()?;
        let place = self.place(bytes);
        samples.unknown.push(read(site, &store, &place).await?);
        samples.warm.push(again(site, &store, &place).await?);
        self.kept.push((bytes, identity, place));

        self.direct(bytes, samples).await?;
        let (_, store) = self.fresh()?;
        let place = self.place(bytes);
        read(site, &store, &elsewhere(site, &place)).await?;
        samples.known.push(read(site, &store, &place).await?);
        samples.warm.push(again(site, &store, &place).await?);

        self.direct(bytes, samples).await?;
        let (_, store) = self.fresh()?;
        let place = self.place(bytes);
        for part in half_of(&place) {
            read(site, &store, &part).await?;
        }
        samples.half.push(read(site, &store, &place).await?);
        samples.warm.push(again(site, &store, &place).await?);
        Ok(())
    }

    async fn direct(&mut self, bytes: u64, samples: &mut Samples) -> Result<(), Failure> {
        let place = self.place(bytes);
        let sample = read(self.site, &*self.site.far, &place).await?;
        samples.direct.push(sample);
        Ok(())
    }

    /// The bucket as one that the cache has never seen.
    fn fresh(&mut self) -> Result<(String, CachedObjectStore), Failure> {
        self.fresh += 1;
        let identity = format!("bucket {}", self.fresh);
        let store = through(self.site, &self.cache, &identity)?;
        Ok((identity, store))
    }

    /// Anywhere, but in the first half of a block: so it goes over as many borders as it can.
    fn place(&mut self, bytes: u64) -> Place {
        let objects = &self.site.objects;
        let object = self.draw.index(objects.len());
        let blocks = objects[object].len() / BLOCK;
        let block = self.draw.below(blocks - bytes / BLOCK);
        let start = block * BLOCK + 1 + self.draw.below(BLOCK / 2 - 1);
        let range = start..start + bytes;
        Place { object, range }
    }

    /// Closes the cache, opens it, and reads once more what was read as the first of an object.
    pub(crate) async fn reopened(self) -> Result<Vec<(u64, Sample)>, Failure> {
        let Self {
            site,
            dir,
            cache,
            kept,
            ..
        } = self;
        cache.close()?;
        let cache = opened_again(&dir).await?;
        let mut samples = Vec::new();
        for (bytes, identity, place) in kept {
            let store = through(site, &cache, &identity)?;
            samples.push((bytes, read(site, &store, &place).await?));
        }
        Ok(samples)
    }
}

fn open(dir: &TempDir) -> perennial::Result<Cache> {
    Cache::open(dir.path(), Options::new().capacity_bytes(CAPACITY))
}

/// Who has it locked is ourselves: tasks that are still ending hold the cache that was closed. They have half a minute.
async fn opened_again(dir: &TempDir) -> perennial::Result<Cache> {
    for _ in 0..1500 {
        match open(dir) {
            Err(error) if error.kind() == ErrorKind::Locked => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            opened => return opened,
        }
    }
    open(dir)
}

fn through(site: &Site, cache: &Cache, identity: &str) -> Result<CachedObjectStore, Failure> {
    let store = CachedObjectStore::builder(Arc::clone(&site.far), cache.clone())
        .identity(identity)
        .head_policy(HeadPolicy::Immutable)
        .build()?;
    Ok(store)
}

/// Times one read. The bytes are looked at afterwards.
async fn read(site: &Site, store: &dyn ObjectStore, place: &Place) -> Result<Sample, Failure> {
    let Object { path, body } = &site.objects[place.object];
    let before = site.proxy.traffic();
    let start = Instant::now();
    let bytes = store.get_range(path, place.range.clone()).await?;
    let took = start.elapsed();
    let requests = site.proxy.traffic().since(before).requests;
    let wanted = usize::try_from(place.range.start)?..usize::try_from(place.range.end)?;
    if bytes != body[wanted] {
        return Err(format!("other bytes at {place:?}").into());
    }
    Ok(Sample { took, requests })
}

/// A warm read.
async fn again(site: &Site, store: &dyn ObjectStore, place: &Place) -> Result<Sample, Failure> {
    let sample = read(site, store, place).await?;
    if sample.requests > 0 {
        return Err(format!("a warm read asked the server, {place:?}").into());
    }
    Ok(sample)
}

/// A byte of the same object, half the object away.
fn elsewhere(site: &Site, place: &Place) -> Place {
    let len = site.objects[place.object].len();
    let at = (place.range.start + len / 2) % len;
    Place {
        object: place.object,
        range: at..at + 1,
    }
}

/// What is read before, so that half of the place's blocks are there.
fn half_of(place: &Place) -> Vec<Place> {
    let Range { start, end } = place.range;
    let part = |range| Place {
        object: place.object,
        range,
    };
    if end - start < MIB {
        return vec![part(start..start + (end - start) / 2)];
    }
    // The later one first: two reads that follow each other look like a scan, and more would be read ahead.
    let quarter = (end - start) / 4;
    vec![
        part(start + 2 * quarter..start + 3 * quarter),
        part(start..start + quarter),
    ]
}
