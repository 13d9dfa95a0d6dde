//! What a read costs directly, cold through the cache and warm, of an S3 server that is as far away as one says: the table of
//! `docs/benchmarks.md`. `.ci/setup-s3` installs the servers.
//!
//! `cargo run --release -p perennial-object-store --example cold_warm -- [OPTIONS]`
//!
//! - `--server s3s-fs|moto`: default s3s-fs, or moto where that is absent
//! - `--delay-ms N`: added to each request, default 50
//! - `--object-mib N`: size of an object, default 64, at least 16
//! - `--repeats N`: reads of each kind and size, default 15
//! - `--judge`: exit status 1 when a cold read costs more than 1.1 direct ones, or a warm one more than a twentieth

mod args;
mod measure;
mod report;
#[allow(dead_code, unused_imports, reason = "the tests have the rest")]
#[path = "../../tests/servers/mod.rs"]
mod servers;
mod site;

use std::process::ExitCode;

use args::Args;
use measure::Bench;
use report::Report;
use servers::{Kind, Server};
use site::Site;

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

pub(crate) const KIB: u64 = 1 << 10;
pub(crate) const MIB: u64 = 1 << 20;

/// Of the ranges that are read.
const SIZES: [u64; 4] = [64 * KIB, 256 * KIB, MIB, 4 * MIB];

fn main() -> ExitCode {
    let done = Args::parse(std::env::args().skip(1)).and_then(|args| run(&args));
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cold_warm: {error}");
            ExitCode::from(2)
        }
    }
}

/// False when it does not come up to what is wanted, and that was asked.
fn run(args: &Args) -> Result<bool, Failure> {
    let Some(server) = start(args.server)? else {
        return Ok(true);
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let report = runtime.block_on(measure(server, args))?;
    println!("{report}");
    Ok(!args.judge || report.fine())
}

/// The one that is wanted, or the first that is installed.
fn start(wanted: Option<Kind>) -> Result<Option<Server>, Failure> {
    let kinds = match wanted {
        Some(kind) => vec![kind],
        None => vec![Kind::S3sFs, Kind::Moto],
    };
    for kind in kinds {
        if let Some(server) = kind.start()? {
            return Ok(Some(server));
        }
    }
    Ok(None)
}

async fn measure(server: Server, args: &Args) -> Result<Report, Failure> {
    let site = Site::build(server, args).await?;
    let mut report = Report::new(&site, args).await?;
    let mut bench = Bench::open(&site)?;
    for bytes in SIZES {
        report.push(bytes, bench.size(bytes, args.repeats).await?);
    }
    for (bytes, took) in bench.reopened().await? {
        report.push_reopened(bytes, took);
    }
    Ok(report)
}
