//! `perennial verify`: reads every byte and says what is damaged.

use perennial::VerifyReport;

use crate::args::Look;
use crate::call::Call;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output;
use crate::place::Place;
use crate::size::ByteSize;

pub(crate) fn run(look: &Look, call: &Call<'_>) -> Result<Exit, Failure> {
    Place::look(&look.cache)?;
    let spinner = call.spinner("reading every byte");
    let report = perennial::verify(&look.cache)?;
    drop(spinner);
    if look.json {
        output::json(&report)?;
    } else {
        show(&report)?;
    }
    Ok(if report.problems.is_empty() {
        Exit::Fine
    } else {
        Exit::Damage
    })
}

fn show(report: &VerifyReport) -> Result<(), Failure> {
    for problem in &report.problems {
        output::line(format_args!("damage: {problem}"))?;
    }
    output::line(format_args!(
        "{} segments, {} frames, {} rows, {} checkpoints, {} read: {}",
        report.segments,
        report.frames,
        report.rows,
        report.checkpoints,
        ByteSize(report.bytes),
        match report.problems.len() {
            0 => "no damage".to_owned(),
            1 => "1 problem".to_owned(),
            many => format!("{many} problems"),
        }
    ))
}
