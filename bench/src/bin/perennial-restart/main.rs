//! How long a cache takes to serve again, at any size: another process fills it and is closed or killed, then others open
//! it and look for keys.
//!
//! What is in the page cache stays there: it is the same for every figure. What a checkpoint takes of the log, and how much
//! log comes between two, stands beside each, for a short open can be bought with more checkpoints.
#![expect(clippy::disallowed_methods, reason = "time is what is measured here")]

mod again;
mod life;

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use clap::{Parser, ValueEnum};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Times a cache's reopening.
#[derive(Debug, Clone, Parser)]
#[command(name = "perennial-restart", version)]
struct Args {
    /// Entries in the cache.
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    entries: u64,
    /// Bytes of each value; keys have 8.
    #[arg(long, value_name = "BYTES", default_value_t = 100, value_parser = clap::value_parser!(u64).range(8..=1 << 20))]
    value_bytes: u64,
    /// How the process before ends.
    #[arg(long, value_enum, default_value_t = Ending::Clean)]
    ending: Ending,
    /// `kill`: it is killed when so much of the log came behind a checkpoint.
    #[arg(long, value_name = "MIB", default_value_t = 256)]
    behind_mib: u64,
    /// Where the cache lies, which must not exist: a real file system, for `/tmp` is often memory. It is removed.
    #[arg(long)]
    dir: PathBuf,
    /// What more entries than so many are loaded as they are used; else the options' default.
    #[arg(long, value_name = "N")]
    at_once: Option<u64>,
    /// How often it is opened.
    #[arg(long, value_name = "N", default_value_t = 3)]
    opens: u32,
    /// Keys looked for after each open, in no order.
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    looks: u64,
    /// For this command's own use: which of its processes this one is.
    #[arg(long, value_enum, hide = true, default_value_t = Role::Parent)]
    role: Role,
}

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Ending {
    /// The cache is closed.
    Clean,
    /// Killed, so much log behind a checkpoint as `--behind-mib` says.
    Kill,
    /// Killed when 95 % of what comes between two checkpoints came since the last, with the options' defaults.
    Worst,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Role {
    Parent,
    Life,
    Again,
}

fn main() -> Result<()> {
    let args = Args::parse();
    match args.role {
        Role::Life => return life::live(&args),
        Role::Again => return again::open(&args),
        Role::Parent => {}
    }
    if args.dir.exists() {
        let shown = args.dir.display();
        return Err(format!("{shown} exists; choose another directory").into());
    }
    let measured = measure(&args);
    std::fs::remove_dir_all(&args.dir)?;
    measured
}

fn measure(args: &Args) -> Result<()> {
    println!("{}", process(args, Role::Life)?);
    for _ in 0..args.opens {
        println!("{}", process(args, Role::Again)?);
    }
    Ok(())
}

/// What another process of this command says. One that was to be killed is: each of them finds what the first one left.
fn process(args: &Args, role: Role) -> Result<String> {
    let name = |value: Option<clap::builder::PossibleValue>| {
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    };
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--role", &name(role.to_possible_value())])
        .args(["--ending", &name(args.ending.to_possible_value())])
        .args(["--entries", &args.entries.to_string()])
        .args(["--value-bytes", &args.value_bytes.to_string()])
        .args(["--behind-mib", &args.behind_mib.to_string()])
        .args(["--looks", &args.looks.to_string()])
        .args(args.at_once.map(|entries| format!("--at-once={entries}")))
        .arg("--dir")
        .arg(&args.dir)
        .stdout(Stdio::piped())
        .spawn()?;
    let mut said = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut said)?;
    }
    if args.ending != Ending::Clean {
        child.kill()?;
    }
    let status = child.wait()?;
    if said.is_empty() || args.ending == Ending::Clean && !status.success() {
        return Err(format!("another process ended with {status}").into());
    }
    Ok(said.trim_end().to_owned())
}

/// Says it, and ends as it is to end: where that is by being killed, this does not return.
fn say_and_end(args: &Args, cache: perennial::Cache, said: &str) -> Result<()> {
    if args.ending == Ending::Clean {
        cache.close()?;
        println!("{said}");
        return Ok(());
    }
    println!("{said}");
    loop {
        std::thread::park();
    }
}
