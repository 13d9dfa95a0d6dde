//! Opening a cache: identity, the old tail, the log's contents, replay, repair, and the log runs.
//!
//! Nothing on disk is changed before everything is known. The order after that is the one of `docs/recovery.md`: repair
//! the log's end, sync, then the tail is reset. Each step can be repeated.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use perennial_failpoints::fs::{Dir, Fs, LockGuard};
use perennial_recovery::{Ahead, Identity, Machine, Outcome, Source, identity, replay};
use perennial_wal::segment::{SegmentStore, slot_of};
use perennial_wal::{Addr, Contents, Geometry, Life, Lsn, SegmentId, Signal};

use crate::absorb::{Absorb, Unloaded, sorters};
use crate::checkpoint::{Behind, CheckpointState};
use crate::clock::Clock;
use crate::engine::{Engine, largest_ring_frame};
use crate::error::{Error, ErrorKind, Result};
use crate::fetch::Flights;
use crate::health::{Gate, Keeper, Unlogged};
use crate::index::Index;
use crate::ledger::Ledger;
use crate::loading::{Loading, LoadingFrom};
use crate::options::{IDENTITY_BYTES, MIN_SEGMENTS, Options, Plan};
use crate::pace::Pace;
use crate::packing::Open;
use crate::pins::{PINNED_ORDER, Pins};
use crate::references::References;
use crate::stats::{Counters, Stats};
use crate::sync::{AtomicBool, AtomicU64, Mutex};
use crate::tails::{bytes_here, tail_place};
use crate::tier::Tier;
use crate::times::AllTimes;
use crate::upkeep::RESERVE;

pub(crate) fn open(fs: Arc<dyn Fs>, path: &Path, options: &Options) -> Result<Engine> {
    let _span = tracing::info_span!("open", path = %path.display()).entered();
    let started = fs.monotonic_ns();
    let mut plan = options.plan()?;
    plan.refuse_tail_beside(path)?;
    let (dir, lock) = lock_directory(&*fs, path)?;
    let identity = match identity::read(&*dir)? {
        Some(identity) => {
            crate::look::check(&identity, &*dir)?;
            name_durably(&*dir)?;
            identity
        }
        None => create(&*fs, &*dir, &plan)?,
    };
    adopt(&mut plan, &identity)?;
    let mut opening = Opening {
        fs,
        dir,
        plan,
        identity,
        locks: vec![lock],
    };
    let mut engine = opening.run()?;
    engine.opened.open_us = (engine.fs.monotonic_ns() - started) / 1000;
    tell_opened(path, &engine);
    Ok(engine)
}

/// What was found, in one line; more loudly where something was given up.
fn tell_opened(path: &Path, engine: &Engine) {
    let (found, path) = (&engine.opened, path.display());
    let entries = engine.entries();
    tracing::info!(
        %path,
        entries,
        from_checkpoint = found.recovered_from_checkpoint,
        replayed = found.replayed,
        holes = found.holes,
        open_us = found.open_us,
        "the cache is open"
    );
    if found.damaged + found.forgotten_all > 0 {
        tracing::warn!(
            %path,
            damaged = found.damaged,
            forgotten_all = found.forgotten_all,
            "damage was found; what it may have been about is forgotten"
        );
    }
}

/// Who wrote the identity may have been killed before its name was durable. Without power after that the next file's name
/// was there and the identity's was not, and the directory was refused as somebody else's, or as one that had lost it.
fn name_durably(dir: &dyn Dir) -> Result<()> {
    // Every name in the directory, a segment's too: the log syncs them again for those who open it alone.
    if perennial_failpoints::planted!("found-names-not-synced") {
        return Ok(());
    }
    dir.sync().map_err(|e| {
        let shown = dir.path().display();
        Error::io(format!("cannot sync {shown}"), e)
    })
}

fn lock_directory(fs: &dyn Fs, path: &Path) -> Result<(Arc<dyn Dir>, Box<dyn LockGuard>)> {
    let shown = path.display();
    fs.create_dir_all(path)
        .map_err(|e| Error::io(format!("cannot create {shown}"), e))?;
    let dir = fs
        .open_dir(path)
        .map_err(|e| Error::io(format!("cannot open {shown}"), e))?;
    refuse_strangers(&*dir)?;
    let lock = dir
        .try_lock(identity::LOCK_NAME)
        .map_err(|e| Error::io(format!("cannot lock {shown}"), e))?;
    let lock = lock.ok_or_else(|| locked(&*dir))?;
    Ok((dir, lock))
}

pub(crate) fn locked(dir: &dyn Dir) -> Error {
    let shown = dir.path().display();
    let message =
        format!("{shown} is open in another process; close that one or choose another directory");
    Error::new(ErrorKind::Locked, message)
}

/// What the command `perennial` writes before it makes a cache: how it opens that.
const OF_THE_COMMAND: [&str; 2] = ["perennial.toml", "perennial.toml.tmp"];

/// A directory without an identity must hold nothing but what a first open that was killed may have left. Checked before
/// anything is created in it.
pub(crate) fn refuse_strangers(dir: &dyn Dir) -> Result<()> {
    let shown = dir.path().display();
    let names = dir
        .list()
        .map_err(|e| Error::io(format!("cannot list {shown}"), e))?;
    if names.iter().any(|entry| entry.name == identity::FILE_NAME) {
        return Ok(());
    }
    let other = dir
        .has_other_entries()
        .map_err(|e| Error::io(format!("cannot list {shown}"), e))?;
    // In whatever order the directory was listed.
    if names.iter().any(|entry| slot_of(&entry.name).is_some()) {
        let message = format!(
            "{shown} has segments but no identity; restore the file `identity` or remove the directory"
        );
        return Err(Error::new(ErrorKind::Corrupt, message));
    }
    let ours = [identity::LOCK_NAME, identity::TEMPORARY_NAME];
    let is_ours = |name: &str| ours.contains(&name) || OF_THE_COMMAND.contains(&name);
    let strange = names.iter().any(|entry| !is_ours(&entry.name));
    if strange || other {
        let message =
            format!("{shown} holds something that is not a cache; choose an empty directory");
        return Err(Error::invalid(message));
    }
    Ok(())
}

fn create(fs: &dyn Fs, dir: &dyn Dir, plan: &Plan) -> Result<Identity> {
    let identity = Identity {
        cache_id: fs.random_u64(),
        hash_seed: fs.random_u64(),
        segment_bytes: perennial_wal::to_u32(perennial_wal::to_usize(plan.geometry.segment_bytes)),
        sector: perennial_wal::to_u32(perennial_wal::to_usize(plan.geometry.sector)),
        identity_bits: plan.index.identity_bits,
        tail: tail_place(plan, fs.random_u64()),
        leftovers: Vec::new(),
    };
    perennial_failpoints::site!("open::create");
    identity::write(dir, &identity)?;
    Ok(identity)
}

/// What was fixed when the cache was created wins over the options.
fn adopt(plan: &mut Plan, identity: &Identity) -> Result<()> {
    let stored = Geometry {
        segment_bytes: u64::from(identity.segment_bytes),
        sector: u64::from(identity.sector),
    };
    plan.keep_segments(stored)?;
    plan.index.identity_bits = identity.identity_bits;
    plan.check()
}

pub(crate) struct Opening {
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) dir: Arc<dyn Dir>,
    plan: Plan,
    pub(crate) identity: Identity,
    pub(crate) locks: Vec<Box<dyn LockGuard>>,
}

/// The index, and what is counted with it.
struct Loaded {
    index: Index<Flights>,
    ledger: Arc<Ledger>,
    pins: Arc<Pins>,
    /// What was left to be loaded.
    loading: Option<Arc<Loading>>,
    /// Nothing is.
    whole: bool,
}

impl Opening {
    fn run(&mut self) -> Result<Engine> {
        let mut recorded = self.identity.tail.clone();
        let wanted = tail_place(&self.plan, recorded.tail_id);
        if perennial_failpoints::planted!("options-name-the-tail") {
            recorded = wanted.clone();
            self.identity.tail = wanted.clone();
        }
        self.remove_stray_tails();
        self.remove_leftovers()?;
        let mut old_tail = self.recorded_tail(&recorded, wanted == recorded)?;
        let boot_id = self.fs.boot_id();
        let geometry = self.plan.geometry;
        let mut index = Index::new(self.plan.index);
        let ledger = Arc::new(Ledger::new(geometry.segment_bytes));
        let life = Life {
            cache_id: self.identity.cache_id,
            incarnation: self.fs.random_u64(),
        };

        let evidence = old_tail.evidence(self.identity.cache_id, recorded.tail_id, boot_id);
        let source = Source {
            dir: &*self.dir,
            cache_id: self.identity.cache_id,
            geometry,
            identity_bits: self.identity.identity_bits,
            threads: self.plan.replay_threads(),
        };
        let (contents, ahead) = perennial_recovery::read(source, evidence, |found| {
            sorters(source.threads, self.plan.index, found, geometry)
        })?;
        let pins = Arc::new(Pins::new(
            self.identity.identity_bits,
            geometry.segment_bytes,
        ));
        let at_once = self.plan.load_at_open_entries;
        let mut machine = Absorb::new(&index, &ledger, &pins, &contents, geometry, at_once);
        let outcome = replay(
            &contents,
            ahead,
            geometry.segment_bytes,
            self.identity.identity_bits,
            &mut machine,
        );
        if outcome.forget {
            machine.forget_all();
        }
        let void = contents.is_void();
        let (oldest, kept) = (machine.oldest(), machine.kept());
        let unloaded = machine.unloaded();
        let pinned = unloaded.as_ref().is_some_and(Unloaded::has_pinned);
        let loading = unloaded.map(|left| Arc::new(Loading::new(left, &ledger, &pins)));
        let mut opened = report(&contents, &outcome);
        let foreign: u64 = contents.found.foreign.iter().map(|(_, bytes)| bytes).sum();
        let max_files = self.plan.max_segments(foreign);
        perennial_failpoints::site!("open::mend");
        let mended = contents.mend(
            Arc::clone(&self.dir),
            geometry,
            life,
            max_files,
            outcome.forget,
        )?;

        perennial_failpoints::site!("open::mended");
        let now = gives_something_up(mended.store(), oldest);
        if let Some(loading) = &loading {
            loading.hold_files(mended.store())?;
            if now {
                loading.load_all(mended.store(), &index);
            }
        }
        let whole = now || loading.is_none();
        // Before another tail is made: it may be larger than the one it follows.
        if whole {
            free_what_nothing_points_at(mended.store(), &ledger);
        }
        free_what_is_not_left(mended.store(), oldest);
        free_kept_that_is_not_left(mended.store(), &kept);
        let evicted = fit(mended.store(), &ledger)?;
        // A void log is void by what its own tail says, until there is another: it is moved by the next open.
        let tail = if wanted == recorded || void {
            old_tail
        } else {
            self.move_tail(wanted, old_tail)?
        };
        let log = mended.start(tail, self.identity.tail.tail_id, boot_id)?;
        log.store().set_reserve(RESERVE);
        opened.open_us = 0;
        let log = Arc::new(log);
        if let Some(loading) = loading.as_ref().filter(|_| !whole) {
            index.defer(Arc::new(LoadingFrom {
                loading: Arc::clone(loading),
                log: Arc::clone(&log),
            }));
        }
        let found = Loaded {
            index,
            ledger,
            pins,
            loading,
            whole,
        };
        let engine = self.engine(log, found, &outcome, opened, foreign);
        engine.counters.evicted.add(evicted);
        engine.index.note_evicted(evicted);
        engine.take_up_pins(pinned);
        // Before the first frame, not after: see `RESERVE`.
        // A checkpoint is for the thread to write that does the upkeep: whoever opens the cache does not wait for it.
        engine.upkeep_round(self.plan.background)?;
        Ok(engine)
    }

    fn engine(
        &mut self,
        log: Arc<perennial_wal::LogCore>,
        found: Loaded,
        outcome: &Outcome,
        opened: Stats,
        foreign: u64,
    ) -> Engine {
        let start = log.reserved_end();
        let policy = self.plan.policy();
        let sampler = policy.sampler();
        let mut state = CheckpointState {
            newest_c: outcome.checkpoint.map_or(Lsn(0), |(_, c)| c),
            newest_head: outcome.checkpoint.map_or(Lsn(0), |(head, _)| head),
            bytes: outcome.checkpoint_bytes,
            behind: Behind {
                replayed: outcome.replayed_operations,
                before: 0,
            },
            visits: 0,
            generation: outcome.generation,
            unstable_head: None,
            begun: None,
            covered: outcome.checkpoint.map_or(Lsn(0), |(_, c)| c),
            busy: false,
            writing: false,
            policy,
            whole: found.whole,
            open: Open::default(),
            pinned_turn: false,
            orders: orders(log.store()),
        };
        state.load_policy(&outcome.policy);
        // With every operation in the checkpoint a close has nothing to write one for.
        let nothing_new = outcome.checkpoint.is_some() && outcome.replayed_operations == 0;
        let tail_bytes = bytes_here(&self.identity.tail);
        Engine {
            fs: Arc::clone(&self.fs),
            index: found.index,
            tier: Tier::new(
                self.plan.memory_tier_bytes,
                self.plan.memory_tier_max_value_bytes,
            ),
            ledger: found.ledger,
            counters: Counters::default(),
            times: AllTimes::default(),
            sampler,
            hash_seed: self.identity.hash_seed,
            clock: Clock::new(&*self.fs, outcome.time_seen_s),
            upkeep: Mutex::new(state),
            signal: Signal::default(),
            pace: Pace::default(),
            horizon: AtomicU64::new(0),
            young_from: AtomicU64::new(u64::MAX),
            gate: Gate::default(),
            health: Keeper::default(),
            unlogged: Unlogged::new(self.plan.memory_tier_bytes),
            pins: found.pins,
            loading: found.loading,
            nothing_new_below: AtomicU64::new(if nothing_new { start.0 } else { 0 }),
            dropped_unread: Mutex::new(Vec::new()),
            references: References::new(start.segment(log.geometry().segment_bytes)),
            room_wanted: AtomicBool::new(false),
            opened,
            other_bytes: other_bytes(&*self.dir)
                .map_or(tail_bytes + IDENTITY_BYTES / 4, |bytes| bytes)
                + foreign,
            foreign_bytes: foreign,
            capacity: AtomicU64::new(self.plan.capacity_bytes),
            files_wanted: AtomicU64::new(log.store().max_files()),
            _locks: std::mem::take(&mut self.locks),
            plan: self.plan.clone(),
            ring_frame: largest_ring_frame(log.max_ring_frame()),
            log,
        }
    }
}

/// Bytes of the files that are not named like segments, as they are once the cache is open: nothing changes them then.
fn other_bytes(dir: &dyn Dir) -> Option<u64> {
    let entries = dir.list().ok()?;
    let others = entries
        .iter()
        .filter(|entry| slot_of(&entry.name).is_none());
    Some(others.map(|entry| entry.len).sum())
}

/// Where kept segments come in the policy's order, as their headers say.
fn orders(store: &SegmentStore) -> BTreeMap<SegmentId, u64> {
    let kept = store.kept();
    let order = kept
        .iter()
        .map(|s| (s.header.number, s.header.kept.unwrap_or_default()));
    order.collect()
}

/// A smaller capacity: files that are too many are removed, free ones first, then the log's oldest.
fn fit(store: &SegmentStore, ledger: &Ledger) -> Result<u64> {
    let mut evicted = 0;
    while store.free_files() < store.surplus_files() {
        if store.kept().len() > store.live().len() {
            evicted += drop_a_kept_segment(store, ledger);
            continue;
        }
        let live = store.live();
        // Not the one that the log goes on in.
        let spare = live.len().saturating_sub(store.prepared() + 1);
        let Some(oldest) = live.first().filter(|_| spare > 0) else {
            break;
        };
        let through = oldest.header.number;
        perennial_failpoints::site!("open::fit");
        store.release_through(through);
        evicted += ledger.drop_through(through);
    }
    if store.surplus_files() > 0 {
        evicted += leave_the_log_room(store, ledger);
        store.name_oldest()?;
        store.shrink()?;
    }
    Ok(evicted)
}

/// What is pinned goes last. How many entries went.
fn drop_a_kept_segment(store: &SegmentStore, ledger: &Ledger) -> u64 {
    let kept = store.kept();
    let least = kept
        .iter()
        .min_by_key(|s| (s.header.kept == Some(PINNED_ORDER), s.header.number));
    least.map_or(0, |segment| {
        store.release_kept(segment.header.number);
        ledger.drop_kept(segment.header.number)
    })
}

/// A capacity that has shrunk may be full of kept segments, pinned ones that no policy reclaims: the log needs its least.
fn leave_the_log_room(store: &SegmentStore, ledger: &Ledger) -> u64 {
    let most = store.max_files().saturating_sub(MIN_SEGMENTS - 1);
    let mut evicted = 0;
    while store.kept().len() as u64 > most {
        evicted += drop_a_kept_segment(store, ledger);
    }
    evicted
}

/// True when a segment of the log goes before the log is started: images may lie there, and what went is to be counted.
fn gives_something_up(store: &SegmentStore, oldest: SegmentId) -> bool {
    let no_file = store.prepared() == 0 && store.spare_files() == 0;
    no_file || store.surplus_files() > 0 || last_that_is_not_left(store, oldest).is_some()
}

/// A kept segment that a crash left without the frame that says what it holds, or whose entries were all replaced.
fn free_what_nothing_points_at(store: &SegmentStore, ledger: &Ledger) {
    for segment in store.kept() {
        let number = segment.header.number;
        if ledger.live_kept(number) == 0 {
            store.release_kept(number);
        }
    }
}

/// Segments of the log that were reclaimed before a frame said what is left: they count no more, whatever their files hold.
fn free_what_is_not_left(store: &SegmentStore, oldest: SegmentId) {
    if let Some(through) = last_that_is_not_left(store, oldest) {
        store.release_through(through);
    }
}

/// Kept ones likewise. Here and not when the index is whole: an image that is loaded later may point there.
fn free_kept_that_is_not_left(store: &SegmentStore, kept: &[SegmentId]) {
    for segment in store.kept() {
        if kept.binary_search(&segment.header.number).is_err() {
            store.release_kept(segment.header.number);
        }
    }
}

fn last_that_is_not_left(store: &SegmentStore, oldest: SegmentId) -> Option<SegmentId> {
    let live = store.live();
    // Not the one that the log goes on in.
    let going = live.len().saturating_sub(store.prepared() + 1);
    live[..going]
        .iter()
        .map(|segment| segment.header.number)
        .rfind(|number| *number < oldest)
}

/// How many entries an open would find. Changes nothing.
pub(crate) fn entries(contents: &Contents<'_>, identity: &Identity) -> Result<Entries> {
    let geometry = Geometry {
        segment_bytes: u64::from(identity.segment_bytes),
        sector: u64::from(identity.sector),
    };
    let mut shape = Options::new().plan()?.index;
    shape.identity_bits = identity.identity_bits;
    let (index, ledger) = (Index::new(shape), Ledger::new(geometry.segment_bytes));
    let everything = u64::MAX;
    let pins = Pins::new(identity.identity_bits, geometry.segment_bytes);
    let mut machine = Absorb::new(&index, &ledger, &pins, contents, geometry, everything);
    let outcome = replay(
        contents,
        Ahead::new(sorters(1, shape, &contents.found, geometry)),
        geometry.segment_bytes,
        identity.identity_bits,
        &mut machine,
    );
    if outcome.forget {
        return Ok(Entries::default());
    }
    let there = contents.found.kept.iter().map(|kept| kept.header.number);
    let there: BTreeSet<SegmentId> = there.collect();
    let is_there = |addr: Addr| {
        addr.is_kept() && there.contains(&addr.position().segment(geometry.segment_bytes))
    };
    let mut image = Vec::new();
    (0..index.shards()).for_each(|shard| index.image(shard, &is_there, &mut image));
    let kept = image
        .iter()
        .map(|entry| (entry.addr.position(), entry.identity));
    Ok(Entries {
        live: ledger.live(),
        kept: kept.collect(),
    })
}

/// What an open would find.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    pub(crate) live: u64,
    /// Of these, those in kept segments: where, and what the index knows of the key's hash.
    pub(crate) kept: BTreeMap<Lsn, u64>,
}

fn report(contents: &Contents<'_>, outcome: &Outcome) -> Stats {
    let verdicts = contents.verdicts();
    Stats {
        recovered_from_checkpoint: outcome.loaded,
        replayed: outcome.replayed,
        holes: verdicts.holes,
        damaged: verdicts.damaged_keys + verdicts.damaged_unknown,
        forgotten_all: outcome.forgotten + u64::from(outcome.forget),
        quarantined_files: contents.found.foreign.len() as u64,
        ..Stats::default()
    }
}
