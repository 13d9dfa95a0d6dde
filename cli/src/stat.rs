//! `perennial stat`: what a cache consists of.

use crate::args::Look;
use crate::exit::{Exit, Failure};
use crate::output;

pub(crate) fn run(look: &Look) -> Result<Exit, Failure> {
    output::must_exist(&look.cache)?;
    let inspection = perennial::inspect(&look.cache)?;
    if look.json {
        output::json(&inspection)?;
    } else {
        output::line(&inspection)?;
    }
    Ok(Exit::Fine)
}
