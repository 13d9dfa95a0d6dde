//! Which charts there are.

use super::super::policies;
use super::super::svg::{Axis, Bar, Limit, Series, bars, plot};
use super::super::unit::{plain, round, show, thousands, time};
use crate::backend::Kind;
use crate::record::Run;

/// A heading, what is to be seen, the charts.
type Section = (&'static str, &'static str, Vec<String>);

pub(super) fn all(run: &Run, policies: Option<&str>) -> Vec<Section> {
    vec![
        (
            "Fill",
            "Fresh keys, one thread, the final flush included; what was dropped does not count. The line is the device: unbuffered sequential writes into \
             files written before.",
            throughput(run, "fill/", "kept_bytes_per_s", "bytes_per_s"),
        ),
        (
            "Durable puts",
            "4 KiB, each safe from power loss when it returns. The line is one synced append after the other.",
            throughput(run, "durable/", "ops_per_s", "ops_per_s"),
        ),
        (
            "Mixed",
            "One put to 4.5 hits and as many misses.",
            throughput(run, "mixed/", "bytes_per_s", "bytes_per_s"),
        ),
        (
            "Hits",
            "4 KiB. How long so many of them take at most; limits are dashed.",
            latencies(run, "hit/"),
        ),
        (
            "Misses",
            "How long so many of them take at most.",
            latencies(run, "miss/"),
        ),
        (
            "Restart",
            "From the begin of the open until the first hit. Dashed: after kill -9.",
            restarts(run),
        ),
        (
            "Hit ratio against flash bytes",
            "The churn workload; and the policies over recorded traces, where they were given.",
            churn(run)
                .into_iter()
                .chain(policies.and_then(of_policies))
                .collect(),
        ),
    ]
}

fn color(kind: Kind) -> &'static str {
    match kind {
        Kind::Perennial => "#c2410c",
        Kind::Foyer => "#1d6fb8",
        Kind::RocksdbLevel => "#5b4bb0",
        Kind::RocksdbFifo => "#9a7fd1",
        Kind::Fjall => "#2b8a5e",
        Kind::Redb => "#b0487f",
        Kind::Sled => "#8a6d1f",
        Kind::Files => "#4a8f9c",
        Kind::QuickCache => "#3f7d20",
        Kind::Moka => "#a05a2c",
        _ => "#8894a0",
    }
}

fn kinds(run: &Run, workload: &str) -> Vec<Kind> {
    let mut kinds: Vec<_> = run
        .backends(workload)
        .into_iter()
        .filter_map(Kind::named)
        .collect();
    kinds.sort_unstable();
    kinds
}

fn below<'a>(run: &'a Run, begin: &str) -> Vec<&'a str> {
    run.workloads()
        .into_iter()
        .filter(|workload| workload.starts_with(begin))
        .collect()
}

/// Bars of each workload; the device, where it was measured, is a line.
fn throughput(run: &Run, begin: &str, metric: &str, of_limits: &str) -> Vec<String> {
    let chart = |workload: &str| {
        let bar = |kind: Kind| {
            let metric = if kind.is_limit() { of_limits } else { metric };
            let spread = run.spread(workload, kind.name(), metric)?;
            Some(Bar {
                label: kind.name().to_owned(),
                figure: spread.median,
                from_to: (spread.least, spread.most),
                color: color(kind),
                shown: show(metric, spread.median),
            })
        };
        let in_bars = |kind: &Kind| !matches!(kind, Kind::Device | Kind::Harness);
        let shown: Vec<_> = kinds(run, workload)
            .into_iter()
            .filter(in_bars)
            .filter_map(bar)
            .collect();
        let limit = run
            .median(workload, Kind::Device.name(), of_limits)
            .map(|figure| Limit {
                label: format!("device {}", show(of_limits, figure)),
                figure,
            });
        (!shown.is_empty()).then(|| bars(workload, &shown, limit.as_ref()))
    };
    below(run, begin).into_iter().filter_map(chart).collect()
}

/// Percentiles from left to right.
fn latencies(run: &Run, begin: &str) -> Vec<String> {
    const PERCENTILES: [(&str, f64); 4] = [
        ("p50_ns", 1.0),
        ("p90_ns", 2.0),
        ("p99_ns", 3.0),
        ("p999_ns", 4.0),
    ];
    let x = Axis {
        title: "percentile",
        log: false,
        show: |at| {
            ["p50", "p90", "p99", "p99.9"]
                .get(at as usize - 1)
                .map_or_else(String::new, |it| (*it).to_owned())
        },
        marks: vec![1.0, 2.0, 3.0, 4.0],
    };
    let y = Axis {
        title: "",
        log: true,
        show: |ns| plain(&time(ns)),
        marks: Vec::new(),
    };
    let chart = |workload: &str| {
        let series = |kind: Kind| {
            let point = |(name, at)| Some((at, run.median(workload, kind.name(), name)?));
            Series {
                label: kind.name().to_owned(),
                color: color(kind),
                dashed: kind.is_limit(),
                points: PERCENTILES.into_iter().filter_map(point).collect(),
            }
        };
        let all: Vec<_> = kinds(run, workload).into_iter().map(series).collect();
        plot(workload, &x, &y, &all)
    };
    // Eight threads on few processors wait for each other.
    let few = |workload: &&str| !workload.ends_with("/8t");
    below(run, begin)
        .into_iter()
        .filter(few)
        .filter_map(chart)
        .collect()
}

fn restarts(run: &Run) -> Vec<String> {
    let x = Axis {
        title: "entries",
        log: true,
        show: |entries| plain(&thousands(entries)),
        marks: Vec::new(),
    };
    let y = Axis {
        title: "",
        log: true,
        show: |seconds| plain(&time(seconds * 1e9)),
        marks: Vec::new(),
    };
    let series = |kind: Kind, ending: &str, dashed| {
        let mut points: Vec<_> = below(run, "restart/")
            .into_iter()
            .filter(|workload| workload.ends_with(ending))
            .filter_map(|workload| {
                let of = |metric| run.median(workload, kind.name(), metric);
                Some((of("entries")?, of("first_hit_s")?))
            })
            .collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let label = format!("{}{}", kind.name(), if dashed { ", kill" } else { "" });
        Series {
            label,
            color: color(kind),
            dashed,
            points,
        }
    };
    let mut measured: Vec<Kind> = below(run, "restart/")
        .into_iter()
        .flat_map(|workload| kinds(run, workload))
        .collect();
    measured.sort_unstable();
    measured.dedup();
    let all: Vec<_> = measured
        .into_iter()
        .flat_map(|kind| [series(kind, "/clean", false), series(kind, "/kill", true)])
        .filter(|series| !series.points.is_empty())
        .collect();
    plot("until the first hit", &x, &y, &all)
        .into_iter()
        .collect()
}

fn churn(run: &Run) -> Option<String> {
    let x = Axis {
        title: "bytes written, for each byte put",
        log: false,
        show: |figure| plain(&round(figure)),
        marks: Vec::new(),
    };
    let y = Axis {
        title: "hit ratio",
        log: false,
        show: |figure| plain(&round(figure)),
        marks: Vec::new(),
    };
    let point = |kind: Kind| {
        let of = |metric| run.median("churn", kind.name(), metric);
        let points = of("write_amplification_of_process")
            .zip(of("hit_ratio"))
            .into_iter()
            .collect();
        Series {
            label: kind.name().to_owned(),
            color: color(kind),
            dashed: false,
            points,
        }
    };
    let all: Vec<_> = kinds(run, "churn").into_iter().map(point).collect();
    plot("churn: three times the capacity", &x, &y, &all)
}

fn of_policies(printed: &str) -> Option<String> {
    const COLORS: [&str; 6] = [
        "#8894a0", "#1d6fb8", "#c2410c", "#2b8a5e", "#5b4bb0", "#8a6d1f",
    ];
    let x = Axis {
        title: "flash bytes, over those of fifo",
        log: false,
        show: |figure| plain(&round(figure)),
        marks: Vec::new(),
    };
    let y = Axis {
        title: "misses less than fifo's, part of them",
        log: false,
        show: |figure| plain(&round(figure)),
        marks: Vec::new(),
    };
    let point = |(at, policy): (usize, policies::Policy)| Series {
        label: policy.name,
        color: COLORS[at % COLORS.len()],
        dashed: false,
        points: vec![(policy.flash, policy.fewer_misses)],
    };
    let all: Vec<_> = policies::parse(printed)
        .into_iter()
        .enumerate()
        .map(point)
        .collect();
    plot("policies over traces", &x, &y, &all)
}
