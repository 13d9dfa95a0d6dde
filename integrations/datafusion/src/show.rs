//! What is shown: the query without a cache, cold, warm, after `kill -9`, and killed in the middle.

use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use crate::place::Place;
use crate::servers::{DelayProxy, KEY, Kind, REGION, Server, Traffic};
use crate::table::Table;
use crate::worker::Worker;
use crate::{Failure, files};

const BUCKET: &str = "perennial-datafusion";
/// What is still under way to a process that was killed, is counted after so long.
const SETTLES: Duration = Duration::from_millis(500);
/// Until a query is half done.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn show(delay_ms: u64) -> Result<(), Failure> {
    let Some((_server, place)) = bucket()? else {
        return Ok(());
    };
    let proxy = DelayProxy::start(place.address()?, Duration::from_millis(delay_ms))?;
    let place = Place {
        endpoint: format!("http://{}", proxy.address()),
        ..place
    };
    let bytes = {
        let client = place.client()?;
        crate::runtime()?.block_on(files::put(&client))?
    };
    let mib = bytes >> 20;
    println!("{mib} MiB of Parquet on S3, {delay_ms} ms away\n");
    let mut show = Show {
        place,
        proxy,
        table: Table::default(),
        rows: None,
    };
    show.without()?;
    let cold = show.with_a_cache()?;
    show.killed_in_the_middle(cold)
}

/// The bucket that the environment names, or one of a server that is started for it, if one is installed.
fn bucket() -> Result<Option<(Option<Server>, Place)>, Failure> {
    if let Some(place) = Place::from_environment()? {
        return Ok(Some((None, place)));
    }
    for kind in [Kind::S3sFs, Kind::Moto] {
        let Some(server) = kind.start()? else {
            continue;
        };
        server.create_bucket(BUCKET)?;
        let place = Place {
            endpoint: format!("http://{}", server.address()),
            bucket: BUCKET.into(),
            region: REGION.into(),
            key: KEY.into(),
            secret: KEY.into(),
        };
        return Ok(Some((Some(server), place)));
    }
    Ok(None)
}

struct Show {
    place: Place,
    proxy: DelayProxy,
    table: Table,
    /// The right answer.
    rows: Option<String>,
}

impl Show {
    fn start(&self, cache: Option<&Path>) -> Result<Worker, Failure> {
        Worker::start(&self.place, cache)
    }

    /// One line of the table. All answers must be the same.
    fn query(&mut self, what: &str, worker: &mut Worker) -> Result<Traffic, Failure> {
        let before = self.proxy.traffic();
        let answer = worker.query()?;
        let traffic = self.proxy.traffic().since(before);
        self.table.line(what, Some(answer.took), traffic);
        match &self.rows {
            None => self.rows = Some(answer.rows),
            Some(rows) if *rows == answer.rows => {}
            Some(rows) => {
                return Err(format!("{what}:\n{}\ninstead of\n{rows}", answer.rows).into());
            }
        }
        Ok(traffic)
    }

    fn without(&mut self) -> Result<(), Failure> {
        let mut worker = self.start(None)?;
        self.query("without a cache", &mut worker)?;
        self.query("once more", &mut worker)?;
        Ok(())
    }

    /// Returns what the cold query took.
    fn with_a_cache(&mut self) -> Result<Traffic, Failure> {
        let dir = tempfile::tempdir()?;
        let mut worker = self.start(Some(dir.path()))?;
        let cold = self.query("cold", &mut worker)?;
        let warm = self.query("warm", &mut worker)?;
        drop(worker);
        let mut worker = self.start(Some(dir.path()))?;
        let restarted = self.query("another process, after kill -9", &mut worker)?;
        for traffic in [warm, restarted] {
            // Listings are not cached.
            if traffic.bytes > cold.bytes / 20 {
                return Err(format!("warm, {traffic:?} came, cold {cold:?}").into());
            }
        }
        Ok(cold)
    }

    fn killed_in_the_middle(mut self, cold: Traffic) -> Result<(), Failure> {
        let dir = tempfile::tempdir()?;
        let mut worker = self.start(Some(dir.path()))?;
        let before = self.proxy.traffic();
        worker.begin()?;
        let mut left = PATIENCE.as_millis();
        while self.proxy.traffic().since(before).bytes < cold.bytes / 2 {
            left = left
                .checked_sub(1)
                .ok_or("the query does not get half way")?;
            sleep(Duration::from_millis(1));
        }
        if !worker.kill_in_the_middle()? {
            println!("{}\n\n{}", self.rows.unwrap_or_default(), self.table);
            println!(
                "Skipped: the query was over before it could be killed in the middle. A longer delay helps."
            );
            return Ok(());
        }
        sleep(SETTLES);
        let killed = self.proxy.traffic().since(before);
        self.table.line("cold, killed in the middle", None, killed);

        let mut worker = self.start(Some(dir.path()))?;
        let rest = self.query("another process, after that", &mut worker)?;
        self.query("once more", &mut worker)?;
        println!("{}\n", self.rows.unwrap_or_default());
        println!("{}", self.table);
        let twice = (killed.bytes + rest.bytes).saturating_sub(cold.bytes);
        println!(
            "Of {} KiB that had come before the kill {} were fetched again: what was under way.",
            killed.bytes >> 10,
            twice >> 10
        );
        if rest.bytes >= cold.bytes {
            return Err("nothing of what had come before the kill was there after it".into());
        }
        Ok(())
    }
}
