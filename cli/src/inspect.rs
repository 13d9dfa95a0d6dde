//! `perennial inspect`: every segment file of a cache, also while another process has it open.

use perennial::Inspection;

use crate::args::Look;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output;
use crate::place::Place;

#[derive(Debug, clap::Args)]
pub(crate) struct Inspect {
    #[command(flatten)]
    look: Look,
    /// Only the segment with this number in the log.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    segment: Option<u64>,
}

pub(crate) fn run(args: &Inspect) -> Result<Exit, Failure> {
    Place::look(&args.look.cache)?;
    let mut inspection = perennial::inspect(&args.look.cache)?;
    if let Some(number) = args.segment {
        keep_only(&mut inspection, number)?;
    }
    output::either(args.look.json, &inspection)?;
    Ok(Exit::Fine)
}

fn keep_only(inspection: &mut Inspection, number: u64) -> Result<(), Failure> {
    let segments = &mut inspection.segments;
    segments.retain(|segment| segment.number == number);
    if segments.is_empty() {
        return Err(Failure::NoSegment(number));
    }
    Ok(())
}
