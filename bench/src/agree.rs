//! `perennial-bench agree`: does the model do what the cache does? Each cell is replayed with both.

use std::io::{self, Write};

use crate::args::{Agree, Mode, Tuning};
use crate::cells::{self, CONTENDERS, Contender, DEFAULT, LRU, Size};
use crate::failure::Failure;
use crate::replay;
use crate::report::{Counts, float};
use crate::trace;

/// What the two made of a cell.
#[derive(Debug, Clone, Copy)]
struct Pair {
    real: Counts,
    model: Counts,
}

impl Pair {
    /// Points of hit ratio that the cache has more.
    fn points(&self) -> f64 {
        100.0 * (self.real.hit_ratio() - self.model.hit_ratio())
    }

    fn amplification(&self) -> f64 {
        self.real.write_amplification() - self.model.write_amplification()
    }
}

pub(crate) fn run(args: &Agree) -> Result<(), Failure> {
    let mut traces = trace::in_directory(&args.traces)?;
    traces.retain(|path| args.only.is_empty() || args.only.contains(&trace::name(path)));
    let mut out = io::stdout();
    let head = "| trace | % | policy | real: hit ratio, WA | model: hit ratio, WA | points | WA |\n|---|---|---|---|---|---|---|";
    writeln!(out, "{head}").map_err(Failure::Output)?;
    let mut pairs = Vec::new();
    cells::each(&traces, |size| {
        if args.percent.is_some_and(|percent| percent != size.percent) {
            return Ok(());
        }
        for contender in contenders(args.all) {
            let pair = play(size, contender)?;
            print(&mut out, size, contender, &pair).map_err(Failure::Output)?;
            pairs.push(pair);
        }
        Ok(())
    })?;
    if pairs.is_empty() {
        return Err(Failure::NoTraces(args.traces.clone()));
    }
    judge(&mut out, &pairs, args.within)
}

/// The default policy, or all of which there is both.
fn contenders(all: bool) -> impl Iterator<Item = &'static Contender> {
    let wanted = move |at: usize| if all { at != LRU } else { at == DEFAULT };
    let each = CONTENDERS.iter().enumerate();
    each.filter(move |(at, _)| wanted(*at)).map(|(_, one)| one)
}

fn play(size: &Size<'_>, contender: &Contender) -> Result<Pair, Failure> {
    let of = |mode| replay::counts(&size.replay(contender, mode, Tuning::default()), size.trace);
    Ok(Pair {
        real: of(Mode::Real)?,
        model: of(Mode::Model)?,
    })
}

fn print(
    out: &mut impl Write,
    size: &Size<'_>,
    contender: &Contender,
    pair: &Pair,
) -> io::Result<()> {
    let of = |counts: &Counts| {
        let hits = counts.hit_ratio();
        format!("{hits:.4}, {:.3}", counts.write_amplification())
    };
    writeln!(
        out,
        "| {} | {} | {} | {} | {} | {:+.2} | {:+.3} |",
        size.name(),
        size.percent,
        contender.name,
        of(&pair.real),
        of(&pair.model),
        pair.points(),
        pair.amplification()
    )?;
    out.flush()
}

fn judge(out: &mut impl Write, pairs: &[Pair], within: f64) -> Result<(), Failure> {
    let most = |of: fn(&Pair) -> f64| pairs.iter().map(of).map(f64::abs).fold(0.0, f64::max);
    let points: f64 = pairs.iter().map(Pair::points).sum();
    let mean = points / float(pairs.len().max(1) as u64);
    let (points, amplification) = (most(Pair::points), most(Pair::amplification));
    let beyond = pairs.iter().filter(|pair| pair.points().abs() > within);
    let beyond = beyond.count();
    writeln!(
        out,
        "\n{} pairs: {points:.2} points apart at most, {mean:+.3} on average; WA {amplification:.3} at most",
        pairs.len()
    )
    .map_err(Failure::Output)?;
    if beyond > 0 {
        return Err(Failure::Apart { beyond, within });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(real: u64, model: u64) -> Pair {
        let of = |hits| Counts {
            requests: 1000,
            hits,
            admitted_bytes: 100,
            moved_bytes: hits / 10,
            ..Counts::default()
        };
        Pair {
            real: of(real),
            model: of(model),
        }
    }

    #[test]
    fn half_a_point_is_within_half_a_point_and_more_is_not() {
        let mut out = Vec::new();
        judge(&mut out, &[pair(505, 500), pair(500, 500)], 0.501).unwrap();
        let said = String::from_utf8(out).unwrap();
        assert!(said.contains("2 pairs: 0.50 points apart at most, +0.250 on average"));
        let apart = judge(&mut Vec::<u8>::new(), &[pair(494, 500)], 0.501).unwrap_err();
        assert!(matches!(apart, Failure::Apart { beyond: 1, .. }));
        assert_eq!(apart.status(), 1);
    }

    #[test]
    fn there_is_both_of_every_policy_but_the_yardstick() {
        let names = |all| contenders(all).map(|one| one.name).collect::<Vec<_>>();
        assert_eq!(names(false), ["s3-merge, duel"]);
        assert_eq!(names(true).len(), CONTENDERS.len() - 1);
        assert!(!names(true).contains(&"exact lru"));
    }
}
