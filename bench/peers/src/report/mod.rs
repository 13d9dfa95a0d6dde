//! What is shown of a run.

mod judge;
mod page;
mod policies;
mod svg;
mod table;
mod unit;

pub(crate) use judge::{Verdict, judge, judged};
pub(crate) use page::page;
pub(crate) use table::{list, table};
