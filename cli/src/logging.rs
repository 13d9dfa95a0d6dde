//! Logs on stderr.

use std::io;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::args::Verbosity;

pub(crate) fn start(verbosity: Verbosity) {
    let filter = EnvFilter::builder()
        .with_default_directive(level(verbosity).into())
        .from_env_lossy();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(false)
        // Complaints about a closed stderr would go to stderr, and panic.
        .log_internal_errors(false)
        .init();
}

fn level(verbosity: Verbosity) -> LevelFilter {
    match (verbosity.quiet, verbosity.verbose) {
        (true, _) => LevelFilter::ERROR,
        (false, 0) => LevelFilter::WARN,
        (false, 1) => LevelFilter::INFO,
        (false, 2) => LevelFilter::DEBUG,
        (false, _) => LevelFilter::TRACE,
    }
}
