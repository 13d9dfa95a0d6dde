//! Ratios of medians, and the best or the worst of several.

use super::super::unit::show;
use super::Finding;
use crate::backend::Kind;
use crate::record::Run;

use Kind::Perennial;

/// Finds figures in a run.
pub(super) struct Look<'a>(pub(super) &'a Run);

impl Look<'_> {
    pub(super) fn of(&self, kind: Kind, workload: &str, metric: &str) -> Option<f64> {
        self.0.median(workload, kind.name(), metric)
    }

    /// `above` over `below`.
    pub(super) fn ratio(
        &self,
        workload: &str,
        metric: &str,
        above: Kind,
        below: Kind,
    ) -> Option<Finding> {
        let (a, b) = (
            self.of(above, workload, metric)?,
            self.of(below, workload, metric)?,
        );
        let from = format!("{above} {}, {below} {}", show(metric, a), show(metric, b));
        Some(Finding {
            figure: a / b,
            from,
        })
    }

    /// A figure of perennial's alone.
    pub(super) fn own(&self, workload: &str, metric: &str) -> Option<Finding> {
        let figure = self.of(Perennial, workload, metric)?;
        Some(Finding {
            figure,
            from: format!("{metric} {}", show(metric, figure)),
        })
    }

    pub(super) fn best(
        &self,
        workload: &str,
        metric: &str,
        peers: impl Fn(Kind) -> bool,
        more: bool,
    ) -> Option<Kind> {
        let measured = self
            .0
            .backends(workload)
            .into_iter()
            .filter_map(Kind::named);
        let of_each = measured
            .filter(|kind| kind.is_peer() && peers(*kind))
            .filter_map(|kind| Some((kind, self.of(kind, workload, metric)?)));
        let order = |a: &(Kind, f64), b: &(Kind, f64)| {
            if more {
                a.1.total_cmp(&b.1)
            } else {
                b.1.total_cmp(&a.1)
            }
        };
        of_each.max_by(order).map(|(kind, _)| kind)
    }

    /// A rate over that of the best peer.
    pub(super) fn times_best(&self, workload: &str, metric: &str) -> Option<Finding> {
        let best = self.best(workload, metric, |_| true, true)?;
        self.ratio(workload, metric, Perennial, best)
    }

    /// The worst ratio of all draws and threads.
    pub(super) fn worst(
        &self,
        place: &str,
        of: impl Fn(&str) -> Option<Finding>,
        most: bool,
    ) -> Option<Finding> {
        let below = format!("hit/{place}/");
        let workloads = self
            .0
            .workloads()
            .into_iter()
            .filter(|workload| workload.starts_with(&below));
        let findings = workloads.filter_map(|workload| {
            let Finding { figure, from } = of(workload)?;
            let how = &workload[below.len()..];
            Some(Finding {
                figure,
                from: format!("{how}: {from}"),
            })
        });
        let order = |a: &Finding, b: &Finding| a.figure.total_cmp(&b.figure);
        if most {
            findings.max_by(order)
        } else {
            findings.min_by(order)
        }
    }

    pub(super) fn over(&self, place: &str, limits: &[Kind]) -> Option<Finding> {
        let of_quickest = |workload: &str| {
            let each = limits
                .iter()
                .filter_map(|limit| self.ratio(workload, "ns_per_op", Perennial, *limit));
            each.max_by(|a, b| a.figure.total_cmp(&b.figure))
        };
        self.worst(place, of_quickest, true)
    }
}
