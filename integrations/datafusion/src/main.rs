//! DataFusion over Parquet files on an S3 server that is far away, read through a perennial cache: `README.md`.

mod files;
mod place;
mod query;
#[allow(
    dead_code,
    unused_imports,
    reason = "the tests of the store have the rest"
)]
#[path = "../../object-store/tests/servers/mod.rs"]
mod servers;
mod show;
mod table;
mod worker;

use std::path::Path;
use std::process::ExitCode;

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match *words {
        [] => show::show(50),
        ["--delay-ms", ms] => ms
            .parse::<u64>()
            .map_err(Failure::from)
            .and_then(show::show),
        // What it starts itself as.
        [worker::QUERY] => query::serve(None),
        [worker::QUERY, cache] => query::serve(Some(Path::new(cache))),
        _ => Err("perennial-datafusion [--delay-ms N]".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("perennial-datafusion: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A runtime for whoever needs one.
pub(crate) fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
}
