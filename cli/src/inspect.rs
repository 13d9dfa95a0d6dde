//! `perennial inspect`: every segment file of a cache, down to one frame; also while another process has it open.

mod frame;
mod page;

use std::path::PathBuf;

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
    /// Its frames, one a line.
    #[arg(long, requires = "segment")]
    frames: bool,
    /// The frame at this offset in its file, byte by byte: 4096 or 0x1000.
    #[arg(long, value_name = "OFFSET", requires = "segment", conflicts_with = "frames", value_parser = offset)]
    frame: Option<u64>,
    /// With --frame, show what is in key and value, too.
    #[arg(long, requires = "frame")]
    content: bool,
    /// Write a page with charts to this file, which appears whole or not at all. What is there already is replaced only where it
    /// is such a page. No key and no value is in it.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["segment", "json"])]
    html: Option<PathBuf>,
    /// What the program that uses the cache counted: its `Cache::stats()`, or `stat --watch --json`, a line each time. For the
    /// charts of the page over time, of which nothing is on disk.
    #[arg(long, value_name = "FILE", requires = "html")]
    stats: Option<PathBuf>,
}

/// As people write it, or as a hex dump does.
fn offset(text: &str) -> Result<u64, String> {
    let read = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    read.map_err(|_| "an offset is a number of bytes, such as 4096 or 0x1000".to_owned())
}

pub(crate) fn run(args: &Inspect) -> Result<Exit, Failure> {
    let dir = &args.look.cache;
    Place::look(dir)?;
    if let Some(file) = &args.html {
        output::line(page::write(dir, file, args.stats.as_deref())?)?;
        return Ok(Exit::Fine);
    }
    match args.segment {
        Some(number) if args.frames || args.frame.is_some() => in_segment(args, number)?,
        segment => {
            let mut inspection = perennial::inspect(dir)?;
            if let Some(number) = segment {
                keep_only(&mut inspection, number)?;
            }
            output::either(args.look.json, &inspection)?;
        }
    }
    Ok(Exit::Fine)
}

fn in_segment(args: &Inspect, number: u64) -> Result<(), Failure> {
    let dir = &args.look.cache;
    let none = || Failure::NoSegment(number);
    if let Some(offset) = args.frame {
        let shown = perennial::inspect_frame(dir, number, offset)?.ok_or_else(none)?;
        return output::either(args.look.json, &frame::Explained::of(shown, args.content));
    }
    let frames = perennial::inspect_frames(dir, number)?.ok_or_else(none)?;
    output::either(args.look.json, &frames)
}

fn keep_only(inspection: &mut Inspection, number: u64) -> Result<(), Failure> {
    let segments = &mut inspection.segments;
    segments.retain(|segment| segment.number == number);
    if segments.is_empty() {
        return Err(Failure::NoSegment(number));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_decimal_or_hexadecimal() {
        assert_eq!(offset("4096"), Ok(4096));
        assert_eq!(offset("0x1000"), Ok(4096));
        for wrong in ["", "0x", "1k", "-16", "0xg"] {
            assert!(offset(wrong).unwrap_err().contains("such as"), "{wrong}");
        }
    }
}
