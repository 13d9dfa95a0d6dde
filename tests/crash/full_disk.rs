//! Minimal test 25, `enospc_then_space`, on disks that are full: an ext4 on a loop device and a tmpfs, 64 MiB each.
//!
//! A child fills the disk around its cache and goes on until it is refused, or takes other room; it makes room, or does not; it
//! closes the cache, or is killed. What was acknowledged is there afterwards, be there room by then or not, and the files are sound.

pub(crate) mod life;

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use perennial::{Cache, ErrorKind, Options, verify};
use perennial_failpoints::StdFs;
use perennial_failpoints::fs::Fs;

use crate::directory::{Scratch, bytes_in, files_in, taken_by, text};
use crate::disk::{self, Disk};
use crate::pipe::{Key, Kind, Message, Pipe};
use crate::process::{CHILD, Child};
use crate::witness::Witness;
use crate::{Outcome, Settings};

const CAPACITY: u64 = 40 << 20;
const SEGMENT: u64 = 256 << 10;
const TAIL: u64 = 256 << 10;
/// A first open finds so much room and less, in steps: none for an identity, then none for a tail, for segments.
const ROOM: u64 = TAIL + 5 * SEGMENT;
const STEP: usize = 64 << 10;

/// Without `threads` nothing is evicted between a look and what is made of it.
fn options(threads: bool) -> Options {
    Options::new()
        .background(threads)
        .capacity_bytes(CAPACITY)
        .segment_bytes(SEGMENT)
        .tail_bytes(TAIL)
        .checkpoint_every_bytes(4 << 20)
}

fn cache_on(root: &Path) -> PathBuf {
    root.join("cache")
}

/// What was not tested must not look as if it had been.
fn shout(why: &str) {
    eprintln!("!!! full disks: {why}: what needs it was NOT tested !!!");
}

pub(crate) fn scenario(_: &Settings) -> Outcome {
    if let Err(why) = disk::run(disk::with_own_mounts().arg("true")) {
        shout(&why);
        return Ok("skipped: nothing can be mounted here, which takes root".into());
    }
    let scratch = Scratch::new();
    let mut process = disk::with_own_mounts()
        .arg(std::env::current_exe().unwrap())
        .args([CHILD, "full_disks", &text(scratch.path())])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // It lives as long as this is open.
    let _alive = process.stdin.take();
    let done = process.wait_with_output().unwrap();
    if done.status.success() {
        Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned())
    } else {
        Err(scratch.keep(&format!("the child failed: {}", done.status)))
    }
}

/// The process that has the mounts: a disk after the other.
pub(crate) fn on_each_disk(_: &Pipe, arguments: &[String]) -> Result<(), String> {
    let mut all = Vec::new();
    for kind in [disk::Kind::Ext4, disk::Kind::Tmpfs] {
        let name = kind.name();
        match Disk::mount(kind, &Path::new(&arguments[0]).join(name)) {
            Err(why) => shout(&format!("no {name} ({why})")),
            Ok(disk) => {
                let said = on_disk(disk.root()).map_err(|why| format!("{name}: {why}"))?;
                all.push(format!("{name}: {said}"));
            }
        }
    }
    if all.is_empty() {
        all.push("skipped: no disk could be mounted".into());
    }
    println!("{}", all.join("; "));
    Ok(())
}

/// When the disk fills up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// Before the cache is made: it finds so many bytes.
    Creating(u64),
    /// While its files become more.
    Growing,
    /// When it is opened with so many bytes, a copy without room of its own for zeros: its tail needs some, and each write.
    Writing(u64),
}

impl When {
    fn arguments(self) -> [String; 2] {
        let (name, leave) = match self {
            Self::Creating(leave) => ("creating", leave),
            Self::Growing => ("growing", 0),
            Self::Writing(leave) => ("writing", leave),
        };
        [name.into(), leave.to_string()]
    }

    fn parse(name: &str, leave: &str) -> Self {
        let leave = leave.parse().unwrap();
        match name {
            "creating" => Self::Creating(leave),
            "growing" => Self::Growing,
            _ => Self::Writing(leave),
        }
    }
}

/// How a life goes on and ends: there is room again before, and it is killed.
const ENDS: [(bool, bool); 4] = [(true, false), (false, true), (true, true), (false, false)];

/// Counts of one disk.
#[derive(Debug, Default)]
struct Totals {
    lives: u64,
    acknowledged: u64,
    refused: u64,
    /// Opens that found no room.
    unopened: u64,
}

fn on_disk(root: &Path) -> Outcome {
    let rooms = (0..=ROOM).step_by(STEP).zip(0usize..);
    let creating = rooms.map(|(leave, n)| (When::Creating(leave), ENDS[n % ENDS.len()]));
    let others = [When::Growing, When::Writing(0), When::Writing(2 * TAIL)];
    let others = others
        .into_iter()
        .flat_map(|when| ENDS.map(|end| (when, end)));
    let mut totals = Totals::default();
    for (when, end) in creating.chain(others) {
        let what = || format!("{when:?}, room again and killed: {end:?}");
        one_life(root, when, end, &mut totals).map_err(|why| format!("{}: {why}", what()))?;
    }
    if totals.refused == 0 || totals.unopened == 0 {
        return Err(format!("the disk was never full: {totals:?}"));
    }
    Ok(format!(
        "{} lives, {} calls acknowledged and {} refused, {} opens refused",
        totals.lives, totals.acknowledged, totals.refused, totals.unopened
    ))
}

fn one_life(root: &Path, when: When, end: (bool, bool), totals: &mut Totals) -> Result<(), String> {
    let (dir, room) = (cache_on(root), end.0);
    let heard = live(root, when, end)?;
    totals.lives += 1;
    let refused = |message: &&Message| message.kind == Kind::Refused;
    totals.refused += heard.iter().filter(refused).count() as u64;
    let mut after = After::new(heard)?;
    totals.acknowledged += after.witness.returned;
    if !room {
        totals.unopened += u64::from(!after.look(&dir, true)?);
        disk::make_room(root).map_err(|why| why.to_string())?;
    }
    after.look(&dir, false)?;
    let report = verify(&dir).map_err(|why| format!("verify: {why}"))?;
    if !report.problems.is_empty() {
        return Err(format!("verify: {:?}", report.problems));
    }
    remove(root, &dir).map_err(|why| why.to_string())
}

/// What a child says in its life.
fn live(root: &Path, when: When, (room, killed): (bool, bool)) -> Result<Vec<Message>, String> {
    let [name, leave] = when.arguments();
    let arguments = [
        text(root),
        name,
        leave,
        room.to_string(),
        killed.to_string(),
    ];
    let child = Child::start("full_disk", &arguments);
    if !killed {
        return Ok(child.wait()?.0);
    }
    let mut heard = child.until_ready()?;
    heard.extend(child.kill()?);
    Ok(heard)
}

/// Blocks of removed files are the next life's when the disk has noted the removal.
fn remove(root: &Path, dir: &Path) -> io::Result<()> {
    std::fs::remove_dir_all(dir)?;
    StdFs.open_dir(root)?.sync()
}

/// What a life left.
struct After {
    witness: Witness,
    /// The keys that its last look found.
    there: Vec<Key>,
    /// Entries that a close and opens have evicted since.
    evicted: u64,
}

impl After {
    fn new(heard: Vec<Message>) -> Result<Self, String> {
        let (found, rest): (Vec<_>, Vec<_>) =
            heard.into_iter().partition(|m| m.kind == Kind::Found);
        let ends = rest.iter().filter(|message| message.kind == Kind::Ready);
        let evicted = ends.filter_map(|end| end.op).sum();
        let mut witness = Witness::new(true);
        witness.hear_all(rest)?;
        witness.died();
        Ok(Self {
            witness,
            there: found.iter().map(|message| message.key).collect(),
            evicted,
        })
    }

    /// Opens the cache and asks for everything. False: there was no room to open it, which only a disk that is `full` excuses.
    fn look(&mut self, dir: &Path, full: bool) -> Result<bool, String> {
        let cache = match Cache::open(dir, options(!full)) {
            Err(error) if full && error.kind() == ErrorKind::Full => {
                return Ok(false);
            }
            opened => opened.map_err(|error| format!("open, full {full}: {error}"))?,
        };
        self.witness.check(&cache)?;
        self.nothing_is_lost(&cache)?;
        if !full {
            let served = cache.insert_durable("after", [1; 9_000]);
            served.map_err(|error| format!("after all: {error}"))?;
        }
        match cache.close() {
            Err(error) if full && error.kind() == ErrorKind::Full => {}
            closed => closed.map_err(|error| format!("close, full {full}: {error}"))?,
        }
        within_the_capacity(dir).map(|()| true)
    }

    /// What a life's last look found is there, but for what was evicted since.
    fn nothing_is_lost(&mut self, cache: &Cache) -> Result<(), String> {
        let mut missing = Vec::new();
        for key in &self.there {
            if !cache.contains(key.bytes()).map_err(|e| e.to_string())? {
                missing.push(*key);
            }
        }
        self.evicted += cache.stats().evicted;
        if missing.len() as u64 <= self.evicted {
            return Ok(());
        }
        let (of, evicted) = (self.there.len(), self.evicted);
        Err(format!(
            "{} of {of} are lost, {evicted} evicted: {missing:?}",
            missing.len()
        ))
    }
}

fn within_the_capacity(dir: &Path) -> Result<(), String> {
    let (bytes, taken) = (bytes_in(dir), taken_by(dir));
    // Where a file is in many pieces, the list of them takes a block, too.
    let lists = files_in(dir).len() as u64 * 4096;
    if bytes <= CAPACITY && taken <= CAPACITY + lists {
        return Ok(());
    }
    Err(format!("{bytes} bytes, {taken} taken, of {CAPACITY}"))
}
