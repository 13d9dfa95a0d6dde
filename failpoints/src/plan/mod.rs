//! [`FaultFs`]: fails, shortens or kills at a chosen call.

mod wrappers;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::{Condvar, Mutex};

use crate::fs::{File, Fs};

/// Which method was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum CallKind {
    /// [`Fs::create_dir_all`]
    CreateDirAll,
    /// [`Fs::open_dir`]
    OpenDir,
    /// [`Fs::free_bytes`]
    FreeBytes,
    /// [`Dir::list`](crate::Dir::list)
    List,
    /// [`Dir::has_other_entries`](crate::Dir::has_other_entries)
    HasOtherEntries,
    /// [`Dir::open`](crate::Dir::open) of a file that exists
    Open,
    /// [`Dir::open`](crate::Dir::open) with [`OpenMode::CreateNew`](crate::OpenMode::CreateNew)
    Create,
    /// [`Dir::rename`](crate::Dir::rename)
    Rename,
    /// [`Dir::remove`](crate::Dir::remove)
    Remove,
    /// [`Dir::sync`](crate::Dir::sync)
    SyncDir,
    /// [`Dir::try_lock`](crate::Dir::try_lock)
    TryLock,
    /// [`File::read_at`](crate::File::read_at)
    Read,
    /// [`File::write_at`](crate::File::write_at)
    Write,
    /// [`File::len`](crate::File::len)
    Len,
    /// [`File::set_len`](crate::File::set_len)
    SetLen,
    /// [`File::allocate`](crate::File::allocate)
    Allocate,
    /// [`File::sync_data`](crate::File::sync_data)
    SyncData,
    /// [`File::map`](crate::File::map)
    Map,
    /// [`File::advise_random`](crate::File::advise_random)
    Advise,
}

/// One call, as the plan sees it before it is made.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// Its number among all calls, from 1.
    pub n: u64,
    /// Which method.
    pub kind: CallKind,
    /// The file's name (of a rename the old one), or the directory's path for calls on a directory.
    pub name: &'a str,
    /// Where in the file; 0 where there is no offset.
    pub offset: u64,
    /// How many bytes; 0 where there is no length.
    pub len: u64,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// It is made.
    Pass,
    /// It is not made and fails so.
    Fail(io::ErrorKind),
    /// It is not made and fails with this number of the operating system.
    FailRaw(i32),
    /// A read or write of at most this many bytes; other calls are made whole.
    Short(usize),
    /// It is not made and reports success: a lost write, a sync that lies. Writes, syncs, sizes, renames and removes;
    /// other calls have something to give back and are made.
    Skip,
    /// A read or write goes to this offset instead; other calls are made.
    Misdirect(u64),
    /// A read or write goes to the other file that was opened last for writing and still is; where there is none, and
    /// for other calls, it is made.
    OtherFile,
    /// A bit of what a read or write carries, counted from its first byte, flips on the way; other calls are made.
    FlipBit(usize),
    /// It is made once [`FaultFs::let_go`] is called: a device that hangs. Other threads' calls go on.
    Hold,
    /// The process ends before it.
    KillBefore,
    /// The process ends after it, before the caller learns of it.
    KillAfter,
}

type Decide = dyn FnMut(&Call<'_>) -> Action + Send;

/// Decides on every call.
pub struct Plan(Box<Decide>);

impl Plan {
    /// A plan of your own. It is asked under a lock: it must not call the [`FaultFs`] it decides for.
    pub fn new(decide: impl FnMut(&Call<'_>) -> Action + Send + 'static) -> Self {
        Self(Box::new(decide))
    }

    /// Everything passes.
    #[must_use]
    pub fn none() -> Self {
        Self::new(|_| Action::Pass)
    }

    /// Call `n` fails; `sticky`: so does every later one.
    #[must_use]
    pub fn fail_nth(n: u64, kind: io::ErrorKind, sticky: bool) -> Self {
        let hit = move |call: &Call<'_>| call.n == n || (sticky && call.n > n);
        Self::when(hit, Action::Fail(kind))
    }

    /// Every call of one kind fails.
    #[must_use]
    pub fn fail_matching(kind: CallKind, error: io::ErrorKind) -> Self {
        Self::when(move |call| call.kind == kind, Action::Fail(error))
    }

    /// The process ends instead of call `n`.
    #[must_use]
    pub fn kill_before(n: u64) -> Self {
        Self::when(move |call| call.n == n, Action::KillBefore)
    }

    /// The process ends right after call `n`.
    #[must_use]
    pub fn kill_after(n: u64) -> Self {
        Self::when(move |call| call.n == n, Action::KillAfter)
    }

    /// Call `n`, if it reads or writes, does so for at most `bytes`.
    #[must_use]
    pub fn short_nth(n: u64, bytes: usize) -> Self {
        Self::when(move |call| call.n == n, Action::Short(bytes))
    }

    fn when(hit: impl Fn(&Call<'_>) -> bool + Send + 'static, action: Action) -> Self {
        Self::new(move |call| if hit(call) { action } else { Action::Pass })
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan").finish_non_exhaustive()
    }
}

/// A file system whose calls are counted and decided on by a [`Plan`]. Clones share count and plan.
///
/// Counted is what reaches the operating system; clocks, randomness, the boot's identity and paths are not.
#[derive(Debug, Clone)]
pub struct FaultFs {
    inner: Arc<dyn Fs>,
    control: Arc<Control>,
}

impl FaultFs {
    /// Wraps `inner`; a kill is SIGKILL to this process.
    #[must_use]
    pub fn new(inner: Arc<dyn Fs>, plan: Plan) -> Self {
        Self::with_kill(inner, plan, Arc::new(kill_self))
    }

    /// Wraps `inner`; a kill calls `on_kill`, which takes an image, panics or ends the process. If it returns, the
    /// file system is dead: this and every later call fails and none is made.
    #[must_use]
    pub fn with_kill(inner: Arc<dyn Fs>, plan: Plan, on_kill: Arc<dyn Fn() + Send + Sync>) -> Self {
        let control = Control {
            counted: Mutex::new(Counted { calls: 0, plan }),
            writable: Mutex::default(),
            dead: AtomicBool::new(false),
            held: Mutex::default(),
            go_on: Condvar::new(),
            on_kill,
        };
        Self {
            inner,
            control: Arc::new(control),
        }
    }

    /// How many calls there were.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.control.counted.lock().calls
    }

    /// Decides by another plan from the next call on; the count goes on.
    pub fn set_plan(&self, plan: Plan) {
        self.control.counted.lock().plan = plan;
    }

    /// How many calls are being [held](Action::Hold).
    #[must_use]
    pub fn held(&self) -> u64 {
        self.control.held.lock().waiting
    }

    /// Makes the calls that are being [held](Action::Hold). Later ones are the plan's again:
    /// [`set_plan`](Self::set_plan) first if they are to pass.
    pub fn let_go(&self) {
        self.control.held.lock().rounds += 1;
        self.control.go_on.notify_all();
    }

    /// True once a kill has come.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.control.dead.load(Ordering::SeqCst)
    }
}

/// Ends this process as `kill -9` does: no unwinding, no buffers flushed.
pub(crate) fn kill_self() {
    let own = rustix::process::getpid();
    // Where the signal cannot be sent, abort is the nearest thing.
    let _ = rustix::process::kill_process(own, rustix::process::Signal::KILL);
    std::process::abort();
}

struct Counted {
    calls: u64,
    plan: Plan,
}

/// What a [`FaultFs`] and everything opened through it share.
struct Control {
    counted: Mutex<Counted>,
    /// Files open for writing, by name, in the order of their opens.
    writable: Mutex<Vec<(String, Weak<dyn File>)>>,
    dead: AtomicBool,
    held: Mutex<Held>,
    go_on: Condvar,
    on_kill: Arc<dyn Fn() + Send + Sync>,
}

#[derive(Default)]
struct Held {
    waiting: u64,
    /// How often all were let go.
    rounds: u64,
}

impl Control {
    /// Counts a call and decides on it; what comes back is how to make it.
    fn admit(&self, kind: CallKind, name: &str, offset: u64, len: u64) -> io::Result<Action> {
        match self.decide(kind, name, offset, len)? {
            Action::Fail(kind) => Err(kind.into()),
            Action::FailRaw(number) => Err(io::Error::from_raw_os_error(number)),
            Action::KillBefore => Err(self.kill()),
            Action::Hold => {
                self.hold();
                Ok(Action::Pass)
            }
            made => Ok(made),
        }
    }

    fn hold(&self) {
        let mut held = self.held.lock();
        let round = held.rounds;
        held.waiting += 1;
        while held.rounds == round {
            self.go_on.wait(&mut held);
        }
        held.waiting -= 1;
    }

    fn opened_for_writing(&self, name: &str, file: &Arc<dyn File>) {
        let mut writable = self.writable.lock();
        writable.retain(|(_, file)| file.strong_count() > 0);
        writable.push((name.to_owned(), Arc::downgrade(file)));
    }

    /// The file that was opened last for writing, has another name and still is open.
    fn other_file(&self, than: &str) -> Option<Arc<dyn File>> {
        let writable = self.writable.lock();
        let mut others = writable.iter().rev().filter(|(name, _)| name != than);
        others.find_map(|(_, file)| file.upgrade())
    }

    fn decide(&self, kind: CallKind, name: &str, offset: u64, len: u64) -> io::Result<Action> {
        let mut counted = self.counted.lock();
        if self.dead.load(Ordering::SeqCst) {
            return Err(dead());
        }
        counted.calls += 1;
        let call = Call {
            n: counted.calls,
            kind,
            name,
            offset,
            len,
        };
        Ok((counted.plan.0)(&call))
    }

    fn kill(&self) -> io::Error {
        // Dead before the image is taken, so that no other thread's call comes between.
        if !self.dead.swap(true, Ordering::SeqCst) {
            (self.on_kill)();
        }
        dead()
    }

    /// Counts a call, makes it if it may be, and kills after it if that is the plan.
    fn call<T>(
        &self,
        kind: CallKind,
        name: &str,
        (offset, len): (u64, u64),
        make: impl FnOnce(Action) -> io::Result<T>,
    ) -> io::Result<T> {
        let action = self.admit(kind, name, offset, len)?;
        let result = make(action);
        if action == Action::KillAfter {
            return Err(self.kill());
        }
        result
    }

    /// The same for a call that gives nothing back and so can be left out unnoticed.
    fn change(
        &self,
        kind: CallKind,
        name: &str,
        len: u64,
        make: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        self.call(kind, name, (0, len), |action| match action {
            Action::Skip => Ok(()),
            _ => make(),
        })
    }
}

fn dead() -> io::Error {
    io::Error::other("killed by plan")
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let calls = self.counted.lock().calls;
        write!(f, "{calls} calls")
    }
}
