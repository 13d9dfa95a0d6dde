//! One small story for each promise that a planted bug breaks. All on one thread, which has chosen the bug; only who
//! joins a flight is another.

use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use perennial::Cache;
use perennial::blocks::{
    BlockCache, BlockOptions, Cancel, Opened, Origin, OriginResult, ReadOptions, Revalidate,
    Version,
};
use perennial_failpoints::SimFs;

use super::origin::Objects;
use super::{BLOCK, face, face_with, options};

type Outcome = Result<(), String>;
type Story = fn() -> Outcome;
type Meddle = Box<dyn Fn(&Objects, &mut [u8]) + Send + Sync>;

/// All of them.
pub(crate) fn all() -> Outcome {
    let stories: [(&str, Story); 8] = [
        ("an old version", a_replaced_version_is_not_served),
        ("two origins", two_origins_are_two),
        ("places", every_place_has_its_bytes),
        ("short", a_short_block_is_not_kept),
        ("torn", what_changed_meanwhile_is_not_believed),
        ("cancelled", a_cancelled_reader_leaves_no_flight),
        ("invalidated", what_was_fetched_before_an_invalidate_is_gone),
        ("remembered", an_answer_from_before_an_invalidate_is_gone),
    ];
    for (title, story) in stories {
        story().map_err(|why| format!("seed 1, {title}: {why}"))?;
    }
    Ok(())
}

fn told<T>(result: perennial::Result<T>) -> Result<T, String> {
    result.map_err(|e| e.to_string())
}

fn cache() -> Result<Cache, String> {
    let machine = Arc::new(SimFs::new(1));
    told(Cache::open_with(machine, "/cache", options(1 << 20)))
}

fn always() -> ReadOptions {
    ReadOptions::new().revalidate(Revalidate::Always)
}

/// All of the object, as the origin has it now.
fn check(blocks: &BlockCache, objects: &Objects, object: &str) -> Outcome {
    let head = told(blocks.head(object, &always()))?;
    let read = told(blocks.read(object, 0..head.len, &always()))?;
    if read == objects.bytes(object, 0..head.len) {
        Ok(())
    } else {
        Err(format!("wrong bytes of {object}"))
    }
}

fn a_replaced_version_is_not_served() -> Outcome {
    let (cache, objects) = (cache()?, Arc::new(Objects::new("a")));
    for version in [0, 1, 2] {
        objects.set_version(version);
        // It knows nothing of the one before, whose blocks are there still.
        let blocks = face(&cache, Arc::clone(&objects))?;
        check(&blocks, &objects, "object")?;
        check(&blocks, &objects, "object")?;
    }
    Ok(())
}

fn two_origins_are_two() -> Outcome {
    let cache = cache()?;
    for identity in ["a", "b", "a"] {
        let objects = Arc::new(Objects::new(identity));
        let blocks = face(&cache, Arc::clone(&objects))?;
        check(&blocks, &objects, "object")?;
        check(&blocks, &objects, "another object")?;
    }
    Ok(())
}

fn every_place_has_its_bytes() -> Outcome {
    let objects = Arc::new(Objects::new("a"));
    let blocks = face(&cache()?, Arc::clone(&objects))?;
    for at in [0, BLOCK, 2 * BLOCK, BLOCK, 0] {
        let read = told(blocks.read("object", at..at + 100, &ReadOptions::new()))?;
        if read != objects.bytes("object", at..at + 100) {
            return Err(format!("wrong bytes at {at}"));
        }
    }
    Ok(())
}

/// An origin that does something else in the middle of a read, and may give less than it was asked for.
struct Meddling {
    objects: Objects,
    at_most: Mutex<usize>,
    meddle: OnceLock<Meddle>,
}

impl Meddling {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            objects: Objects::new("a"),
            at_most: Mutex::new(usize::MAX),
            meddle: OnceLock::new(),
        })
    }

    fn then(&self, meddle: impl Fn(&Objects, &mut [u8]) + Send + Sync + 'static) {
        assert!(self.meddle.set(Box::new(meddle)).is_ok(), "once");
    }
}

impl Origin for Meddling {
    fn identity(&self) -> String {
        "a".into()
    }
    fn version(&self, object: &str) -> OriginResult<Version> {
        self.objects.version(object)
    }
    fn len(&self, object: &str) -> OriginResult<u64> {
        self.objects.len(object)
    }
    fn read_at(
        &self,
        object: &str,
        version: &Version,
        offset: u64,
        buf: &mut [u8],
        options: &ReadOptions,
    ) -> OriginResult<usize> {
        let read = self
            .objects
            .read_at(object, version, offset, buf, options)?;
        if let Some(meddle) = self.meddle.get() {
            meddle(&self.objects, buf);
        }
        Ok(read.min(*self.at_most.lock().expect("no thread panicked")))
    }
}

fn a_short_block_is_not_kept() -> Outcome {
    let origin = Meddling::new();
    let blocks = face(&cache()?, Arc::clone(&origin))?;
    // The buffer is full; what it is full of does not count.
    origin.then(|_, buf| buf.iter_mut().skip(5_000).for_each(|byte| *byte = 0));
    *origin.at_most.lock().expect("no thread panicked") = 5_000;
    let read = blocks.read("object", 0..9_000, &ReadOptions::new());
    if read.is_ok() {
        return Err("a short answer was taken for a whole one".into());
    }
    let stats = told(blocks.stats_of("object"))?;
    if stats.cached_blocks == 1 {
        Ok(())
    } else {
        Err(format!(
            "{} blocks are kept of one whole one",
            stats.cached_blocks
        ))
    }
}

/// The object changes behind the bytes of the read, which are the new version's.
fn what_changed_meanwhile_is_not_believed() -> Outcome {
    let origin = Meddling::new();
    let blocks = face(&cache()?, Arc::clone(&origin))?;
    let head = told(blocks.head("object", &always()))?;
    origin.then(|objects, buf| {
        objects.set_version(3);
        buf.copy_from_slice(&objects.bytes("object", 0..buf.len() as u64));
    });
    let mut buf = [0; 100];
    match blocks.read_version_at("object", &head, 0, &mut buf, &ReadOptions::new()) {
        Ok(()) => Err("bytes of another version than was asked for".into()),
        Err(_) => check(&blocks, &origin.objects, "object"),
    }
}

fn a_cancelled_reader_leaves_no_flight() -> Outcome {
    let origin = Meddling::new();
    let options = BlockOptions::new()
        .block_bytes(BLOCK)
        .fetch_bytes_max(BLOCK)
        .fetch_threads(0);
    let blocks = told(BlockCache::new(cache()?, Arc::clone(&origin), options))?;
    let cancel = Cancel::new();
    let cancels = cancel.clone();
    origin.then(move |_, _| cancels.cancel());
    let read = blocks.read("object", 0..9_000, &ReadOptions::new().cancel(&cancel));
    if read.is_ok() {
        return Err("it was not cancelled".into());
    }
    match blocks.stats().in_flight {
        0 => check(&blocks, &origin.objects, "object"),
        left => Err(format!(
            "{left} flights are left, and who joins one waits for ever"
        )),
    }
}

/// While the origin gives its bytes the object is invalidated, and somebody else begins to read it.
fn what_was_fetched_before_an_invalidate_is_gone() -> Outcome {
    let origin = Meddling::new();
    let blocks = face(&cache()?, Arc::clone(&origin))?;
    let (once, late) = (Mutex::new(true), Arc::new(Mutex::new(None)));
    let (face, joiner) = (blocks.clone(), Arc::clone(&late));
    origin.then(move |_, buf| {
        if !std::mem::take(&mut *once.lock().expect("no thread panicked")) {
            return;
        }
        // What was there before it changed without a new version.
        buf.fill(0xEE);
        // Whether that fails shows in what is read.
        let _ = face.invalidate("object");
        let blocks = face.clone();
        let reader = thread::Builder::new()
            .spawn(move || blocks.read("object", 0..100, &ReadOptions::new()))
            .expect("a thread");
        // Time to fetch for itself; who has joined comes later.
        thread::sleep(Duration::from_millis(50));
        *joiner.lock().expect("no thread panicked") = Some(reader);
    });
    told(blocks.read("object", 0..100, &ReadOptions::new()))?;
    let reader = late.lock().expect("no thread panicked").take();
    let late = reader.ok_or("it was not read")?.join();
    let late = told(late.map_err(|_| "the reader panicked")?)?;
    if late != origin.objects.bytes("object", 0..100) {
        return Err("what was fetched before an invalidate was given to who came after".into());
    }
    check(&blocks, &origin.objects, "object")
}

/// Says what it had before it was invalidated, while the question was under way.
struct Late {
    objects: Objects,
    face: Mutex<Option<BlockCache>>,
}

impl Origin for Late {
    fn identity(&self) -> String {
        "a".into()
    }
    fn version(&self, object: &str) -> OriginResult<Version> {
        self.objects.version(object)
    }
    fn len(&self, object: &str) -> OriginResult<u64> {
        self.objects.len(object)
    }
    fn open_at(
        &self,
        object: &str,
        range: Range<u64>,
        options: &ReadOptions,
    ) -> OriginResult<Opened> {
        let before = self.objects.open_at(object, range, options)?;
        let Some(face) = self.face.lock().expect("no thread panicked").take() else {
            return Ok(before);
        };
        self.objects.set_version(3);
        face.invalidate(object)?;
        // Under the old version's name there is something else now, so that what is kept shows.
        let bytes = vec![0xEE; before.bytes.len()];
        Ok(Opened::new(before.head, before.offset, bytes))
    }
    fn read_at(
        &self,
        object: &str,
        version: &Version,
        offset: u64,
        buf: &mut [u8],
        options: &ReadOptions,
    ) -> OriginResult<usize> {
        self.objects.read_at(object, version, offset, buf, options)
    }
}

/// An object of which nothing is known is invalidated while its first bytes are on their way. Neither they nor its version are
/// there afterwards, in this life or the next.
fn an_answer_from_before_an_invalidate_is_gone() -> Outcome {
    let cache = cache()?;
    let origin = Arc::new(Late {
        objects: Objects::new("a"),
        face: Mutex::default(),
    });
    let blocks = face_with(&cache, Arc::clone(&origin), true)?;
    *origin.face.lock().expect("no thread panicked") = Some(blocks.clone());
    told(blocks.read("object", 0..100, &ReadOptions::new()))?;
    // The next lives: one that remembers nothing comes to the old version again, the other finds the new one.
    let next = |version, remember| {
        let objects = Objects::new("a");
        objects.set_version(version);
        face_with(&cache, Arc::new(objects), remember)
    };
    let expected = Objects::new("a");
    for (version, blocks) in [(0, next(0, false)?), (3, next(3, true)?), (3, blocks)] {
        expected.set_version(version);
        let read = told(blocks.read("object", 0..100, &ReadOptions::new()))?;
        if read != expected.bytes("object", 0..100) {
            return Err(
                "what was asked for before an invalidate was given to who came after".into(),
            );
        }
    }
    Ok(())
}
