//! The Parquet files.

use std::sync::Arc;

use datafusion::arrow::array::{Int32Array, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::file::properties::WriterProperties;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::Failure;

/// What the table's files begin with.
pub(crate) const DIRECTORY: &str = "readings";

const FILES: i64 = 4;
/// Row groups of a file.
const GROUPS: i64 = 8;
/// Of a row group: of each some 600 KiB are read, in one range.
const ROWS: i64 = 50_000;

/// Puts all files. Returns how many bytes they have.
pub(crate) async fn put(store: &dyn ObjectStore) -> Result<usize, Failure> {
    let mut total = 0;
    for n in 0..FILES {
        let bytes = file(n)?;
        total += bytes.len();
        let path = Path::from(format!("{DIRECTORY}/{n}.parquet"));
        store.put(&path, bytes.into()).await?;
    }
    Ok(total)
}

fn file(n: i64) -> Result<Vec<u8>, Failure> {
    let schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("sensor", DataType::Int32, false),
        Field::new("value", DataType::Int64, false),
        Field::new("note", DataType::Utf8, false),
    ]));
    // Plain, so that the files are as large as they look.
    let plain = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(plain))?;
    for group in 0..GROUPS {
        let first = (n * GROUPS + group) * ROWS;
        writer.write(&rows(&schema, first)?)?;
        // Ends the row group.
        writer.flush()?;
    }
    Ok(writer.into_inner()?)
}

fn rows(schema: &Arc<Schema>, first: i64) -> Result<RecordBatch, Failure> {
    let ids = first..first + ROWS;
    let sensors = ids.clone().map(|id| i32::try_from(mixed(id) % 1000));
    let sensors = sensors.collect::<Result<Vec<i32>, _>>()?;
    let values = ids.clone().map(|id| mixed(id + 1) % 1000);
    let notes = ids.clone().map(|id| format!("reading number {id:012}"));
    let batch = RecordBatch::try_new(
        Arc::clone(schema),
        vec![
            Arc::new(Int64Array::from_iter_values(ids)),
            Arc::new(Int32Array::from(sensors)),
            Arc::new(Int64Array::from_iter_values(values)),
            Arc::new(StringArray::from_iter_values(notes)),
        ],
    )?;
    Ok(batch)
}

/// Anything, from 0 on, that is the same each time.
fn mixed(id: i64) -> i64 {
    let mixed = id.wrapping_mul(0x2545_F491_4F6C_DD1D);
    (mixed ^ (mixed >> 29)) & i64::MAX
}
