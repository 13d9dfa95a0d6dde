//! What is wanted of perennial, held against a run: ratios of medians of the same run.

mod look;
mod rows;

use comfy_table::{Table, presets::ASCII_MARKDOWN};

use super::unit::round;
use crate::record::Run;

/// What a row's figure may be.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
    /// It is shown beside another.
    Shown,
}

impl Bound {
    fn holds(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(bound) => figure >= bound,
            Self::AtMost(bound) => figure <= bound,
            Self::Shown => true,
        }
    }

    fn words(self) -> String {
        match self {
            Self::AtLeast(bound) => format!("at least {bound}"),
            Self::AtMost(bound) => format!("at most {bound}"),
            Self::Shown => String::new(),
        }
    }
}

/// One line of what is wanted.
struct Row {
    /// The workload, and of what the figure is.
    name: String,
    bound: Bound,
    /// `None`: it was not measured.
    found: Option<Finding>,
}

struct Finding {
    figure: f64,
    /// Out of what it was calculated.
    from: String,
}

/// A row and whether it holds.
pub(crate) struct Verdict {
    name: String,
    wanted: String,
    figure: String,
    verdict: &'static str,
    from: String,
}

impl Verdict {
    pub(crate) fn is_missed(&self) -> bool {
        self.verdict == MISSED
    }

    pub(crate) fn cells(&self) -> [&str; 5] {
        [
            &self.name,
            &self.wanted,
            &self.figure,
            self.verdict,
            &self.from,
        ]
    }
}

const MISSED: &str = "missed";
pub(crate) const HEADS: [&str; 5] = ["workload", "wanted", "is", "", "from"];

pub(crate) fn judge(run: &Run) -> Vec<Verdict> {
    rows::all(run).into_iter().map(verdict).collect()
}

fn verdict(row: Row) -> Verdict {
    let Row { name, bound, found } = row;
    let wanted = bound.words();
    let Some(Finding { figure, from }) = found else {
        let (figure, from) = (String::new(), String::new());
        return Verdict {
            name,
            wanted,
            figure,
            verdict: "not measured",
            from,
        };
    };
    let verdict = match bound {
        Bound::Shown => "",
        _ if bound.holds(figure) => "met",
        _ => MISSED,
    };
    let figure = round(figure);
    Verdict {
        name,
        wanted,
        figure,
        verdict,
        from,
    }
}

pub(crate) fn judged(verdicts: &[Verdict]) -> String {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header(HEADS);
    for verdict in verdicts {
        table.add_row(verdict.cells());
    }
    let count = |of: &str| {
        verdicts
            .iter()
            .filter(|verdict| verdict.verdict == of)
            .count()
    };
    let (met, missed, not) = (count("met"), count(MISSED), count("not measured"));
    format!("{table}\n{met} met, {missed} missed, {not} not measured")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::run;

    fn of<'a>(verdicts: &'a [Verdict], name: &str) -> &'a Verdict {
        verdicts
            .iter()
            .find(|verdict| verdict.name == name)
            .unwrap_or_else(|| panic!("no row {name}"))
    }

    #[test]
    fn nothing_measured_is_nothing_met() {
        let verdicts = judge(&run(&[]));
        assert!(
            verdicts
                .iter()
                .all(|verdict| verdict.verdict == "not measured" && !verdict.is_missed())
        );
    }

    #[test]
    fn the_best_peer_counts_and_a_limit_is_none() {
        let verdicts = judge(&run(&[
            ("fill/4KiB", "perennial", "bytes_per_s", 200.0),
            ("fill/4KiB", "perennial", "kept_bytes_per_s", 200.0),
            ("fill/4KiB", "foyer", "bytes_per_s", 500.0),
            ("fill/4KiB", "foyer", "kept_bytes_per_s", 50.0),
            ("fill/4KiB", "fjall", "kept_bytes_per_s", 110.0),
            ("fill/4KiB", "bare-log", "kept_bytes_per_s", 500.0),
            ("fill/4KiB", "device", "bytes_per_s", 210.0),
            ("fill/4KiB", "harness", "bytes_per_s", 10_000.0),
        ]));
        let peers = of(&verdicts, "fill/4KiB: times the best peer");
        assert_eq!((peers.verdict, peers.figure.as_str()), (MISSED, "1.82"));
        assert!(peers.from.contains("fjall"), "{}", peers.from);
        let device = of(&verdicts, "fill/4KiB: of the device, or of the harness");
        assert_eq!((device.verdict, device.figure.as_str()), ("met", "0.95"));
    }

    #[test]
    fn times_are_better_when_less() {
        let at = |ns| {
            let run = run(&[
                ("miss/10M", "perennial", "ns_per_op", ns),
                ("miss/10M", "foyer", "ns_per_op", 150.0),
                ("miss/10M", "sled", "ns_per_op", 1500.0),
            ]);
            let verdicts = judge(&run);
            let verdict = |name| of(&verdicts, name).verdict;
            [
                verdict("miss/10M: ns"),
                verdict("miss/10M: times quicker than the best peer"),
            ]
        };
        assert_eq!(at(40.0), ["met", "met"]);
        assert_eq!(at(50.5), [MISSED, MISSED]);
    }

    #[test]
    fn the_worst_of_several_is_judged() {
        let verdicts = judge(&run(&[
            ("hit/memory/uniform/1t", "perennial", "ns_per_op", 100.0),
            ("hit/memory/uniform/1t", "quick-cache", "ns_per_op", 60.0),
            ("hit/memory/zipf/8t", "perennial", "ns_per_op", 300.0),
            ("hit/memory/zipf/8t", "quick-cache", "ns_per_op", 100.0),
        ]));
        let row = of(&verdicts, "hit/memory: time over quick_cache's");
        assert_eq!((row.verdict, row.figure.as_str()), (MISSED, "3.00"));
        assert!(row.from.contains("zipf/8t"));
    }

    #[test]
    fn the_ends_are_within_the_bounds() {
        assert!(Bound::AtLeast(2.0).holds(2.0) && !Bound::AtLeast(2.0).holds(1.99));
        assert!(Bound::AtMost(2.0).holds(2.0) && !Bound::AtMost(2.0).holds(2.01));
        assert!(!Bound::AtMost(2.0).holds(f64::NAN) && !Bound::AtLeast(2.0).holds(f64::NAN));
    }
}
