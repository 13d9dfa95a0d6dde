//! Each line of what is wanted.

use super::super::unit::show;
use super::look::Look;
use super::{Bound, Finding, Row};
use crate::backend::Kind;
use crate::record::Run;

use Bound::{AtLeast, AtMost, Shown};
use Kind::{BareLoop, Device, Files, Foyer, Harness, Perennial, Pread, PreadDirect, QuickCache};

/// A hit is one read. The harness reads counters beside.
const READS: f64 = 1.02;

pub(super) fn all(run: &Run) -> Vec<Row> {
    let look = Look(run);
    let mut rows = Vec::new();
    rows.extend(
        ["128B", "256B"]
            .into_iter()
            .flat_map(|size| look.small_fill(size)),
    );
    rows.extend(
        ["4KiB", "64KiB", "1MiB"]
            .into_iter()
            .flat_map(|size| look.large_fill(size)),
    );
    rows.extend(look.durable());
    rows.extend(look.hits());
    rows.extend(look.misses());
    rows.extend(
        ["1MiB", "64KiB"]
            .into_iter()
            .flat_map(|size| look.mixed(size)),
    );
    rows.extend(look.restart());
    rows.extend(look.memory());
    rows.extend(look.amplification());
    rows.extend(look.busy());
    rows
}

fn row(name: impl Into<String>, bound: Bound, found: Option<Finding>) -> Row {
    Row {
        name: name.into(),
        bound,
        found,
    }
}

impl Look<'_> {
    fn small_fill(&self, size: &str) -> [Row; 2] {
        let workload = format!("fill/{size}");
        [
            row(
                format!("{workload}: times the best peer"),
                AtLeast(5.0),
                self.times_best(&workload, "kept_ops_per_s"),
            ),
            row(
                format!("{workload}: the bare loop over it, flush apart"),
                AtMost(2.0),
                self.ratio(&workload, "put_ops_per_s", BareLoop, Perennial),
            ),
        ]
    }

    fn large_fill(&self, size: &str) -> [Row; 2] {
        let workload = format!("fill/{size}");
        let limits =
            [Device, Harness].map(|limit| self.ratio(&workload, "bytes_per_s", Perennial, limit));
        let [device, harness] = limits;
        // Whichever limit is lower makes the ratio larger.
        let limit = match (device, harness) {
            (Some(device), Some(harness)) if harness.figure > device.figure => Some(harness),
            (device, _) => device,
        };
        [
            row(
                format!("{workload}: times the best peer"),
                AtLeast(2.0),
                self.times_best(&workload, "kept_bytes_per_s"),
            ),
            row(
                format!("{workload}: of the device, or of the harness"),
                AtLeast(0.9),
                limit,
            ),
        ]
    }

    fn durable(&self) -> [Row; 3] {
        let alone = self.ratio("durable/1t", "ops_per_s", Perennial, Device);
        let times = |workload: &str| self.times_best(workload, "ops_per_s");
        [
            row("durable/1t: of the device's appends", AtLeast(0.8), alone),
            row(
                "durable/8t: times the best peer",
                AtLeast(3.0),
                times("durable/8t"),
            ),
            row(
                "durable/64t: times the best peer",
                AtLeast(4.0),
                times("durable/64t"),
            ),
        ]
    }

    fn hits(&self) -> Vec<Row> {
        let foyer = |workload: &str| self.ratio(workload, "ops_per_s", Perennial, Foyer);
        let reads = |workload: &str| self.own(workload, "reads_per_hit");
        vec![
            row(
                "hit/memory: time over quick_cache's",
                AtMost(2.0),
                self.over("memory", &[QuickCache]),
            ),
            row(
                "hit/memory: times foyer's rate",
                AtLeast(2.0),
                self.worst("memory", foyer, false),
            ),
            row(
                "hit/page-cache: time over a raw pread's",
                AtMost(1.25),
                self.over("page-cache", &[Pread]),
            ),
            row(
                "hit/disk: time over the quicker raw pread's",
                AtMost(1.25),
                self.over("disk", &[Pread, PreadDirect]),
            ),
            row(
                "hit/page-cache: reads a hit",
                AtMost(READS),
                self.worst("page-cache", reads, true),
            ),
            row(
                "hit/disk: reads a hit",
                AtMost(READS),
                self.worst("disk", reads, true),
            ),
        ]
    }

    fn misses(&self) -> [Row; 2] {
        let workload = "miss/10M";
        let best = self.best(workload, "ns_per_op", |_| true, false);
        let ratio = best.and_then(|best| self.ratio(workload, "ns_per_op", best, Perennial));
        [
            row(
                "miss/10M: ns",
                AtMost(50.0),
                self.own(workload, "ns_per_op"),
            ),
            row(
                "miss/10M: times quicker than the best peer",
                AtLeast(3.0),
                ratio,
            ),
        ]
    }

    fn mixed(&self, size: &str) -> [Row; 3] {
        let workload = format!("mixed/{size}");
        let best = self.best(&workload, "bytes_per_s", |kind| kind != Files, true);
        let ratio = best.and_then(|best| self.ratio(&workload, "bytes_per_s", Perennial, best));
        let files = self.ratio(&workload, "bytes_per_s", Perennial, Files);
        [
            row(
                format!("{workload}: times the best store"),
                AtLeast(1.3),
                ratio,
            ),
            row(
                format!("{workload}: times one file per key"),
                AtLeast(1.0),
                files,
            ),
            row(
                format!("{workload}: lost of what must be there"),
                AtMost(0.0),
                self.own(&workload, "lost"),
            ),
        ]
    }

    fn restart(&self) -> Vec<Row> {
        let first = |workload: &str| {
            let mut finding = self.own(workload, "first_hit_s")?;
            for metric in ["all_hits_s", "replayed", "checkpoint_bytes_before"] {
                if let Some(figure) = self.of(Perennial, workload, metric) {
                    finding.from += &format!(", {metric} {}", show(metric, figure));
                }
            }
            Some(finding)
        };
        let clean = "restart/1M/clean";
        vec![
            row(
                format!("{clean}: times quicker than foyer per entry"),
                AtLeast(20.0),
                self.ratio(clean, "open_ns_per_entry", Foyer, Perennial),
            ),
            row(
                "restart/10M/kill: first hit, s",
                AtMost(0.1),
                first("restart/10M/kill"),
            ),
            row(
                "restart/10M/kill-recent: first hit, s",
                AtMost(0.1),
                first("restart/10M/kill-recent"),
            ),
            row(
                "restart/50M/kill-recent: first hit, s",
                AtMost(0.3),
                first("restart/50M/kill-recent"),
            ),
            row(
                "restart/50M/kill-worst: first hit, s",
                AtMost(2.0),
                first("restart/50M/kill-worst"),
            ),
        ]
    }

    fn memory(&self) -> [Row; 2] {
        let own = |metric| self.own("memory/10M", metric);
        [
            row(
                "memory/10M: index and bloom, bytes an entry",
                AtMost(16.0),
                own("index_bytes_per_entry"),
            ),
            row(
                "memory/10M: resident, bytes an entry",
                AtMost(20.0),
                own("rss_bytes_per_entry"),
            ),
        ]
    }

    fn amplification(&self) -> Vec<Row> {
        let of = |size: &str, pace: &str, bound| {
            let workload = format!("amplify/{size}/{pace}");
            row(
                format!("{workload}: bytes at the device a byte"),
                bound,
                self.own(&workload, "write_amplification"),
            )
        };
        vec![
            of("4KiB", "full", AtMost(1.05)),
            of("4KiB", "paced", Shown),
            of("128B", "full", AtMost(1.9)),
            of("128B", "paced", Shown),
        ]
    }

    fn busy(&self) -> [Row; 2] {
        let ratio = |above: &str, below: &str| {
            let (a, b) = (
                self.of(Perennial, "busy", above)?,
                self.of(Perennial, "busy", below)?,
            );
            let from = format!("{above} {}, {below} {}", show(above, a), show(below, b));
            Some(Finding {
                figure: a / b,
                from,
            })
        };
        [
            row(
                "busy: p99 of a get over a raw pread's",
                AtMost(1.5),
                ratio("disk_busy_p99_ns", "raw_busy_p99_ns"),
            ),
            row(
                "busy: p99 of a hit in memory over idle",
                AtMost(3.0),
                ratio("hot_busy_p99_ns", "hot_idle_p99_ns"),
            ),
        ]
    }
}
