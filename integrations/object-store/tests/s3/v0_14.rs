//! With object_store 0.14.

use os14 as object_store;
use perennial_object_store::v0_14::CachedObjectStore;

#[path = "conditions.rs"]
mod conditions;
#[path = "functions.rs"]
mod functions;
#[path = "one_writer.rs"]
mod one_writer;
#[path = "overwritten.rs"]
mod overwritten;
#[path = "place.rs"]
mod place;
#[path = "questions.rs"]
mod questions;

use object_store::ObjectStore;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::integration::{
    MarkerHttpConnector, multipart_put_part_out_of_order, multipart_with_opts, response_extensions,
};

const VERSION: &str = "0.14";

/// What `object_store::integration` has in this version only.
const MORE: &[&str] = &[
    "multipart_with_opts",
    "multipart_put_part_out_of_order",
    "response_extensions",
];

async fn run_more(name: &str, store: &dyn ObjectStore, bare: &AmazonS3) {
    match name {
        "multipart_with_opts" => multipart_with_opts(store, bare).await,
        "multipart_put_part_out_of_order" => multipart_put_part_out_of_order(store, bare).await,
        "response_extensions" => response_extensions(store, true).await,
        other => panic!("{other} is no function of object_store::integration"),
    }
}

/// Marks each answer of the server, which is what `response_extensions` looks for.
fn marking(builder: AmazonS3Builder) -> AmazonS3Builder {
    builder.with_http_connector(MarkerHttpConnector::default())
}
