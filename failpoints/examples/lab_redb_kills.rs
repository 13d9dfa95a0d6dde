//! Somebody else's store, redb, under the lab's driver and oracle: real files, processes that are killed at random moments.
//!
//! redb makes its own system calls, so that the lab cannot stop between them, and a killed process loses nothing that the
//! kernel has: this says nothing about power. `lab_redb_kills [lives]`; 60 lives take a few seconds.

use std::error::Error;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use perennial_failpoints::lab::{Crash, Driver, Keeps, Op, Oracle, Store, key, value};
use perennial_failpoints::{Fs, StdFs};
use redb::{Database, ReadableDatabase, TableDefinition};

const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("entries");
const KEYS: u8 = 12;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

struct Redb(PathBuf);

/// Every commit is durable when it returns: redb's other kind may be lost to a kill, too, which the lab has no word for.
struct Open(Database);

impl Open {
    fn create(path: &PathBuf) -> Outcome<Self> {
        let database = Database::create(path)?;
        let create = database.begin_write()?;
        create.open_table(TABLE)?;
        create.commit()?;
        Ok(Self(database))
    }

    fn change(&self, key: &[u8], value: Option<&[u8]>) -> Outcome {
        let change = self.0.begin_write()?;
        let mut table = change.open_table(TABLE)?;
        match value {
            Some(value) => drop(table.insert(key, value)?),
            None => drop(table.remove(key)?),
        }
        drop(table);
        Ok(change.commit()?)
    }

    fn read(&self, key: &[u8]) -> Outcome<Option<Vec<u8>>> {
        let table = self.0.begin_read()?.open_table(TABLE)?;
        Ok(redb::ReadableTable::get(&table, key)?.map(|found| found.value().to_vec()))
    }
}

fn told<T>(result: Outcome<T>) -> Result<T, String> {
    result.map_err(|e| e.to_string())
}

impl Driver for Redb {
    type Store = Open;

    fn open(&self, _: Arc<dyn Fs>) -> Result<Open, String> {
        told(Open::create(&self.0))
    }
}

impl Store for Open {
    fn put(&self, key: &[u8], value: &[u8], _: bool) -> Result<(), String> {
        told(self.change(key, Some(value)))
    }

    fn remove(&self, key: &[u8], _: bool) -> Result<(), String> {
        told(self.change(key, None))
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        told(self.read(key))
    }

    fn flush(&self) -> Result<(), String> {
        Ok(())
    }

    fn close(self) -> Result<(), String> {
        Ok(())
    }
}

struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// The child: works until it is killed, and says before and after what it does.
fn live(driver: &Redb, life: u64) -> Outcome {
    let store = driver.open(Arc::new(StdFs))?;
    let mut rng = Rng(life);
    for op in life * 1_000_000.. {
        let number = u8::try_from(rng.below(KEYS.into()))?;
        let key = key(number);
        if rng.below(4) == 0 {
            println!("{number} -");
            store.remove(&key, true)?;
        } else {
            println!("{number} {op}");
            let len = usize::try_from(rng.below(3_000))?;
            store.put(&key, &value(&key, op, len), true)?;
        }
        println!("ok");
    }
    Ok(())
}

/// Tells the oracle what a child said; a line cut short by the kill was never said. Gives how much had returned.
fn hear(oracle: &mut Oracle, said: &str) -> Outcome<u64> {
    let whole = said.rfind('\n').map_or("", |end| &said[..end]);
    let (mut under_way, mut returned) = (None, 0);
    for line in whole.lines() {
        if let Some((number, op)) = line.split_once(' ') {
            let key = key(number.parse()?);
            let op: Option<Op> = (op != "-").then(|| op.parse()).transpose()?;
            oracle.issued(&key, op);
            under_way = Some(key);
        } else if let Some(key) = under_way.take() {
            oracle.acknowledged(&key, true);
            returned += 1;
        }
    }
    Ok(returned)
}

/// One life of a child, ended after `ms`.
fn kill_one(driver: &Redb, life: u64, ms: u64) -> Outcome<String> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["live", &life.to_string()])
        .arg(&driver.0)
        .stdout(Stdio::piped())
        .spawn()?;
    std::thread::sleep(Duration::from_millis(ms));
    child.kill()?;
    let mut said = String::new();
    child
        .stdout
        .take()
        .ok_or("no pipe")?
        .read_to_string(&mut said)?;
    child.wait()?;
    Ok(said)
}

fn kill_many(lives: u64) -> Outcome {
    let scratch = tempfile::tempdir()?;
    let driver = Redb(scratch.path().join("redb"));
    let mut oracle = Oracle::new(Keeps::Everything);
    let (mut rng, mut returned) = (Rng(7), 0);
    for life in 1..=lives {
        let said = kill_one(&driver, life, 5 + rng.below(80))?;
        returned += hear(&mut oracle, &said)?;
        let store = driver.open(Arc::new(StdFs))?;
        for key in oracle.known_keys() {
            let found = store.get(&key)?;
            oracle
                .check_recovered(&key, found.as_deref(), Crash::Kill)
                .map_err(|why| format!("life {life}: {why}"))?;
        }
        store.close()?;
    }
    println!("{lives} lives, {returned} operations returned, all there");
    if returned < lives {
        return Err("the children were killed before they did anything".into());
    }
    Ok(())
}

fn run(args: &[String]) -> Outcome {
    match args {
        [what, life, path] if what == "live" => live(&Redb(path.into()), life.parse()?),
        [lives] => kill_many(lives.parse()?),
        _ => kill_many(60),
    }
}

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}
