//! What can go wrong, and the exit status for it.

use std::io;
use std::path::PathBuf;

use crate::args::PolicyName;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{} is no trace: {bytes} bytes are no whole number of records of 16", path.display())]
    NoTrace { path: PathBuf, bytes: usize },
    #[error("{} has no traces: files named *.bin or *.bin.zst", .0.display())]
    NoTraces(PathBuf),
    #[error(
        "a cache of {capacity} bytes has no room for {segments} segments of {segment_bytes} bytes"
    )]
    TooSmall {
        capacity: u64,
        segments: u64,
        segment_bytes: u64,
    },
    #[error("the policy {0} is a yardstick of the model only; choose --mode model")]
    NotAvailable(PolicyName),
    #[error("the temporary directory: {0}")]
    Temporary(io::Error),
    #[error(transparent)]
    Cache(#[from] perennial::Error),
    #[error("a process of the churn: {0}")]
    Process(io::Error),
    #[error("{0}")]
    Churn(String),
    #[error(
        "{beyond} of the pairs are more than {within} points apart: the model does not do there what the cache does"
    )]
    Apart { beyond: usize, within: f64 },
    #[error("output: {0}")]
    Output(io::Error),
    #[error("JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl Failure {
    pub(crate) fn status(&self) -> u8 {
        match self {
            Self::NotAvailable(_) => 4,
            _ => 1,
        }
    }
}
