//! What an open would read of the log, from its oldest segment to its end.

use perennial::{FileState, Inspection};

use super::svg::{document, figure, line, rect, text, told};
use crate::size::ByteSize;

const WIDTH: f64 = 1100.0;
const HEIGHT: f64 = 150.0;
const LANE: (f64, f64) = (66.0, 26.0);

/// `None` where nothing was ever written.
pub(super) fn chart(inspection: &Inspection) -> Option<String> {
    let begin = begin(inspection)?;
    let bytes = inspection
        .end
        .checked_sub(begin)
        .filter(|bytes| *bytes > 0)?;
    let x = |at: u64| {
        let at = at.clamp(begin, inspection.end) - begin;
        figure(at) / figure(bytes) * WIDTH
    };
    let replay = replay_from(inspection);
    let mut body = rect((0.0, LANE.0), (WIDTH, LANE.1), "live");
    let from = x(replay);
    let says = format!(
        "replayed by an open: {}",
        ByteSize(inspection.end.saturating_sub(replay))
    );
    body += &told(&says, &rect((from, LANE.0), (WIDTH - from, LANE.1), "read"));
    for segment in segments(inspection) {
        body += &line((x(segment), LANE.0), (x(segment), LANE.0 + LANE.1), "tick");
    }
    for (n, life) in inspection.lives.iter().enumerate().skip(1) {
        let mark = line(
            (x(life.begin), LANE.0 - 12.0),
            (x(life.begin), LANE.0 + LANE.1),
            "life",
        );
        let says = format!(
            "life {n} began at {:#x}, after a kill or in another boot",
            life.begin
        );
        body += &told(&says, &mark);
    }
    if let Some(checkpoint) = &inspection.checkpoint {
        let at = x(checkpoint.head);
        let mark = line((at, LANE.0), (at, LANE.0 + LANE.1 + 12.0), "checkpoint");
        let says = format!(
            "checkpoint {}: {} entries",
            checkpoint.generation, checkpoint.entries
        );
        body += &told(&says, &mark);
    }
    body += &text(0.0, LANE.0 + LANE.1 + 30.0, "small", &format!("{begin:#x}"));
    body += &text(
        WIDTH,
        LANE.0 + LANE.1 + 30.0,
        "end small",
        &format!("{:#x}", inspection.end),
    );
    body += &text(0.0, 40.0, "small", &says_of(inspection, bytes));
    Some(document(
        WIDTH,
        HEIGHT,
        "The log, as an open would read it",
        &body,
    ))
}

fn says_of(inspection: &Inspection, bytes: u64) -> String {
    let replayed = ByteSize(inspection.end.saturating_sub(replay_from(inspection)));
    let kills = inspection.lives.len().saturating_sub(1);
    let image = match &inspection.checkpoint {
        None => "no checkpoint".to_owned(),
        Some(checkpoint) => format!(
            "checkpoint {} with {} entries",
            checkpoint.generation, checkpoint.entries
        ),
    };
    format!(
        "{} of log; {image}, {replayed} to replay behind it; {kills} opens after a kill or in another boot in what is left",
        ByteSize(bytes)
    )
}

/// The oldest position that there is.
fn begin(inspection: &Inspection) -> Option<u64> {
    inspection.lives.first().map(|life| life.begin)
}

fn replay_from(inspection: &Inspection) -> u64 {
    let begin = begin(inspection).unwrap_or_default();
    let from = inspection
        .checkpoint
        .as_ref()
        .map(|checkpoint| checkpoint.c);
    from.unwrap_or(begin)
        .clamp(begin, inspection.end.max(begin))
}

/// Where the log's segments begin, but for the first.
fn segments(inspection: &Inspection) -> impl Iterator<Item = u64> {
    let log = inspection.segments.iter();
    let log = log.filter(|one| matches!(one.state, FileState::Sealed | FileState::Open));
    log.skip(1).map(|one| one.number * inspection.segment_bytes)
}
