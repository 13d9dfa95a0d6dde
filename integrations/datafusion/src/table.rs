//! What each query took.

use std::fmt;
use std::time::Duration;

use crate::servers::Traffic;

/// A table of Markdown.
#[derive(Default)]
pub(crate) struct Table(Vec<String>);

impl Table {
    pub(crate) fn line(&mut self, what: &str, took: Option<Duration>, traffic: Traffic) {
        let took = took.map_or_else(String::new, |took| format!("{} ms", took.as_millis()));
        let Traffic { requests, bytes } = traffic;
        let kib = bytes >> 10;
        self.0
            .push(format!("| {what} | {took} | {requests} | {kib} |"));
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| query | time | requests of S3 | KiB from S3 |")?;
        writeln!(f, "|---|---|---|---|")?;
        for line in &self.0 {
            writeln!(f, "{line}")?;
        }
        Ok(())
    }
}
