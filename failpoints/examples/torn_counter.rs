//! A counter in a file, replaced by write and rename, killed after each of its calls and power-cut by many seeds.
//!
//! `torn_counter` runs the correct store; `torn_counter no-file-sync` and `torn_counter no-dir-sync` plant a bug
//! and print the seeds that find it.

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use perennial_failpoints::{Dir, FaultFs, Fs, OpenMode, Plan, SimFs, read_exact_at, write_all_at};

/// Which of its syncs the store does.
#[derive(Clone, Copy, PartialEq)]
struct Syncs {
    file: bool,
    dir: bool,
}

/// The store: one file of eight bytes for the count and eight for its complement.
struct Counter {
    dir: Arc<dyn Dir>,
    syncs: Syncs,
}

impl Counter {
    fn open(fs: &dyn Fs, syncs: Syncs) -> io::Result<Self> {
        fs.create_dir_all(Path::new("/counter"))?;
        let dir = fs.open_dir(Path::new("/counter"))?;
        match dir.remove("temp") {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(Self { dir, syncs }),
        }
    }

    fn get(&self) -> io::Result<u64> {
        let file = match self.dir.open("count", OpenMode::Read) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
            opened => opened?,
        };
        let (mut count, mut complement) = ([0; 8], [0; 8]);
        read_exact_at(&*file, &mut count, 0)?;
        read_exact_at(&*file, &mut complement, 8)?;
        let count = u64::from_le_bytes(count);
        if count != !u64::from_le_bytes(complement) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(count)
    }

    fn set(&self, count: u64) -> io::Result<()> {
        let bytes = [count.to_le_bytes(), (!count).to_le_bytes()].concat();
        let file = self.dir.open("temp", OpenMode::CreateNew)?;
        write_all_at(&*file, &bytes, 0, 1)?;
        if self.syncs.file {
            file.sync_data()?;
        }
        self.dir.rename("temp", "count")?;
        if self.syncs.dir {
            self.dir.sync()?;
        }
        Ok(())
    }
}

/// Counts to three until the kill comes; gives the machine as it then is and the last count that was acknowledged.
fn run(kill_after: u64, syncs: Syncs) -> (SimFs, FaultFs, u64) {
    let machine = SimFs::new(1);
    let plan = Plan::kill_after(kill_after);
    let fs = FaultFs::with_kill(Arc::new(machine.clone()), plan, Arc::new(|| ()));
    let mut acknowledged = 0;
    if let Ok(counter) = Counter::open(&fs, syncs) {
        while acknowledged < 3 && counter.set(acknowledged + 1).is_ok() {
            acknowledged += 1;
        }
    }
    (machine, fs, acknowledged)
}

/// What a restart finds wrong, if anything.
fn complaint(image: &SimFs, acknowledged: u64, syncs: Syncs) -> Option<String> {
    match Counter::open(image, syncs).and_then(|counter| counter.get()) {
        Ok(count) if (acknowledged..=acknowledged + 1).contains(&count) => None,
        Ok(count) => Some(format!("{acknowledged} was acknowledged, {count} is there")),
        Err(e) => Some(format!("{acknowledged} was acknowledged, and now: {e}")),
    }
}

fn main() -> ExitCode {
    let bug = std::env::args().nth(1).unwrap_or_default();
    let syncs = Syncs {
        file: bug != "no-file-sync",
        dir: bug != "no-dir-sync",
    };
    let mut broken = 0;
    for call in 1.. {
        let (machine, fs, acknowledged) = run(call, syncs);
        for seed in 0..200 {
            if let Some(what) = complaint(&machine.power_loss(seed), acknowledged, syncs) {
                broken += 1;
                println!("killed after call {call}, seed {seed}: {what}");
            }
        }
        if !fs.is_dead() {
            println!("{call} kills, {broken} broken images");
            break;
        }
    }
    let correct = syncs.file && syncs.dir;
    ExitCode::from(u8::from(correct && broken > 0))
}
