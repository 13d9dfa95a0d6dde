//! `perennial-bench replay`: one trace, one policy.

use std::collections::HashSet;
use std::io::{self, Write};

use perennial::reclaim::{Clock, Fifo, Policy, S3Merge, S3Options};

use crate::args::{Mode, PolicyName, Replay, Switch};
use crate::clock::timed;
use crate::failure::Failure;
use crate::model::{Engine, Shape, charge, hash};
use crate::report::{Counts, Report, ratio};
use crate::trace::{self, Request};
use crate::{lru, real};

/// Segments of a cache, unless they would be too small.
const SEGMENTS: u64 = 64;
const LEAST_SEGMENTS: u64 = 8;
/// Fewer are refused.
const LEAST_SEGMENTS_OF_A_CACHE: u64 = 6;
/// Entries that a segment should hold.
const LEAST_ENTRIES: u64 = 16;

pub(crate) fn run(args: &Replay) -> Result<(), Failure> {
    let trace = trace::read(&args.trace)?;
    let (counts, took) = timed(|| counts(args, &trace));
    let report = report(args, &counts?, took);
    let line = if args.json {
        serde_json::to_string(&report)?
    } else {
        format!("{report:#?}")
    };
    writeln!(io::stdout(), "{line}").map_err(Failure::Output)
}

pub(crate) fn counts(args: &Replay, trace: &[Request]) -> Result<Counts, Failure> {
    if args.mode == Mode::Real {
        return real::replay(trace, args, shape(args, trace)?);
    }
    if args.policy == PolicyName::Lru {
        return Ok(lru::replay(trace, args.capacity));
    }
    let shape = shape(args, trace)?;
    Ok(Engine::new(shape, policy(args, shape)).replay(trace))
}

fn policy(args: &Replay, shape: Shape) -> Box<dyn Policy> {
    match args.policy {
        PolicyName::Fifo | PolicyName::Lru => Box::new(Fifo),
        PolicyName::Clock => Box::new(Clock::default()),
        PolicyName::S3Merge => Box::new(S3Merge::new(S3Options {
            log_percent: args.tuning.log_percent,
            promote: args.promote,
            ghost_percent: args.tuning.ghost_percent,
            stay_percent: args.tuning.stay_percent,
            young_percent: args.tuning.young_percent,
            duel: args.duel == Switch::On,
            segment_bytes: shape.segment_bytes,
        })),
    }
}

fn shape(args: &Replay, trace: &[Request]) -> Result<Shape, Failure> {
    let segments = match (args.segments, args.segment_bytes) {
        (Some(segments), _) => segments,
        (None, Some(bytes)) => args.capacity / bytes.max(1),
        (None, None) => usual_segments(args.capacity, mean_charge(trace)),
    };
    let shape = Shape::within(args.capacity, segments, args.segment_bytes);
    if shape.segments < LEAST_SEGMENTS_OF_A_CACHE {
        return Err(Failure::TooSmall {
            capacity: args.capacity,
            segments: shape.segments,
            segment_bytes: shape.segment_bytes,
        });
    }
    Ok(shape)
}

/// 64, or fewer down to 8 so that each holds 16 entries.
fn usual_segments(capacity: u64, entry_bytes: u64) -> u64 {
    (capacity / entry_bytes.max(1) / LEAST_ENTRIES).clamp(LEAST_SEGMENTS, SEGMENTS)
}

/// Mean over the keys, not the requests: what a cache is filled with.
fn mean_charge(trace: &[Request]) -> u64 {
    let mut seen = HashSet::new();
    let fresh = trace.iter().filter(|request| seen.insert(request.key));
    let charges = fresh.map(|request| charge(hash(request.key), request.value_bytes));
    let sum: u64 = charges.sum();
    sum / (seen.len().max(1) as u64)
}

fn report(args: &Replay, counts: &Counts, took: std::time::Duration) -> Report {
    Report {
        trace: trace::name(&args.trace),
        policy: args.policy.to_string(),
        mode: match args.mode {
            Mode::Real => "real",
            Mode::Model => "model",
        },
        capacity_bytes: args.capacity,
        segments: counts.segments,
        requests: counts.requests,
        hit_ratio: counts.hit_ratio(),
        byte_hit_ratio: ratio(counts.hit_bytes, counts.requested_bytes),
        write_amplification: counts.write_amplification(),
        flash_bytes_per_requested_byte: ratio(counts.flash_bytes, counts.requested_bytes),
        requests_per_s: counts.rate(took),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Args, Command};

    /// Keys of which some are asked for much more often than others, and sizes from next to nothing to more than the ring takes.
    fn trace() -> Vec<Request> {
        let mut state = 1_u64;
        let mut draw = |below: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) % below
        };
        let request = |_| {
            let key = draw(3000) * draw(3000) / 3000 * draw(2) + draw(900);
            let value_bytes =
                [100, 700, 1000, 5000, 60_000][usize::try_from(key % 97).unwrap() / 24];
            Request { key, value_bytes }
        };
        (0..30_000).map(request).collect()
    }

    #[test]
    fn the_model_does_what_the_cache_does() {
        let trace = trace();
        for policy in [
            "fifo",
            "clock",
            "s3-merge",
            "s3-merge --duel off --promote 2",
        ] {
            for segments in [8, 40] {
                let line = format!(
                    "perennial-bench replay t.bin --capacity 1600000 --segments {segments} --policy {policy}"
                );
                let args = Args::try_parse_from(line.split(' ')).unwrap();
                let Command::Replay(mut args) = args.command else {
                    panic!("not a replay");
                };
                let model = counts(&args, &trace).unwrap();
                args.mode = Mode::Real;
                let real = counts(&args, &trace).unwrap();
                assert!(real.hits > 0 && real.hits < real.requests);
                assert_eq!(real.hits, model.hits, "{line}");
                assert_eq!(real.admitted_bytes, model.admitted_bytes, "{line}");
            }
        }
    }
}
