//! With object_store 0.13.

use os13 as object_store;
use perennial_object_store::v0_13::CachedObjectStore;

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

const VERSION: &str = "0.13";

/// What `object_store::integration` has in this version only.
const MORE: &[&str] = &[];

async fn run_more(name: &str, _: &dyn ObjectStore, _: &AmazonS3) {
    panic!("{name} is no function of object_store::integration")
}

/// Nothing of this version looks at the extensions of an answer.
fn marking(builder: AmazonS3Builder) -> AmazonS3Builder {
    builder
}
