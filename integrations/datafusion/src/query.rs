//! A process that asks: the same query as often as it is told to, through one store.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use object_store::ObjectStore;
use url::Url;

use crate::files::DIRECTORY;
use crate::place::Place;
use crate::{Failure, worker};

/// Two columns of four. The condition keeps it from being answered out of the files' statistics.
const SQL: &str = "SELECT sensor % 8 AS room, count(*) AS readings, sum(value) AS total, max(value) AS highest \
    FROM readings WHERE value >= 500 GROUP BY sensor % 8 ORDER BY room";
/// Files that are read at a time, and parts of them.
const PARTITIONS: usize = 8;

/// For each line that comes the query is run, and a line goes back: `worker.rs` has the other end.
pub(crate) fn serve(cache: Option<&Path>) -> Result<(), Failure> {
    let place = Place::from_environment()?.ok_or("a query needs an endpoint")?;
    let runtime = crate::runtime()?;
    // The store wants to be made inside of one.
    let _inside = runtime.enter();
    let store: Arc<dyn ObjectStore> = match cache {
        Some(cache) => place.cached(cache)?,
        None => Arc::new(place.client()?),
    };
    for line in std::io::stdin().lines() {
        line?;
        let start = Instant::now();
        let rows = runtime.block_on(query(&store, &place.bucket))?;
        println!("{}", worker::answer(start.elapsed(), &rows));
    }
    Ok(())
}

async fn query(store: &Arc<dyn ObjectStore>, bucket: &str) -> Result<String, Failure> {
    // A context of its own for each: what DataFusion remembers of files it remembers there.
    let config = SessionConfig::new().with_target_partitions(PARTITIONS);
    let context = SessionContext::new_with_config(config);
    let bucket = Url::parse(&format!("s3://{bucket}"))?;
    context.register_object_store(&bucket, Arc::clone(store));
    let files = format!("{bucket}/{DIRECTORY}/");
    let options = ParquetReadOptions::default();
    context.register_parquet("readings", files, options).await?;
    let batches = context.sql(SQL).await?.collect().await?;
    Ok(pretty_format_batches(&batches)?.to_string())
}
