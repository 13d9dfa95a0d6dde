//! Lines and points between two axes.

use super::scale::Scale;
use super::{document, escape, line, text};

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 160.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 44.0;
const LABEL_STEP: f64 = 14.0;

/// Of one store.
pub(crate) struct Series {
    pub(crate) label: String,
    pub(crate) color: &'static str,
    pub(crate) dashed: bool,
    /// Points are joined, from left to right.
    pub(crate) points: Vec<(f64, f64)>,
}

pub(crate) struct Axis {
    pub(crate) title: &'static str,
    pub(crate) log: bool,
    pub(crate) show: fn(f64) -> String,
    /// Where to put marks; none: wherever it suits.
    pub(crate) marks: Vec<f64>,
}

/// Nothing, where there is nothing to show.
pub(crate) fn plot(title: &str, x: &Axis, y: &Axis, series: &[Series]) -> Option<String> {
    let points = || series.iter().flat_map(|series| series.points.iter());
    let across = Scale::over(points().map(|point| point.0), x.log, LEFT, WIDTH - RIGHT)?;
    let up = Scale::over(points().map(|point| point.1), y.log, HEIGHT - BOTTOM, TOP)?;
    let mut body = String::new();
    for mark in marks(y, &up) {
        let at = up.place(mark);
        body += &line((LEFT, at), (WIDTH - RIGHT, at), "grid");
        body += &text(LEFT - 6.0, at + 4.0, "end small", &(y.show)(mark));
    }
    for mark in marks(x, &across) {
        let at = across.place(mark);
        body += &line((at, HEIGHT - BOTTOM), (at, HEIGHT - BOTTOM + 4.0), "axis");
        body += &text(at, HEIGHT - BOTTOM + 17.0, "middle small", &(x.show)(mark));
    }
    body += &line(
        (LEFT, HEIGHT - BOTTOM),
        (WIDTH - RIGHT, HEIGHT - BOTTOM),
        "axis",
    );
    body += &text(
        f64::midpoint(LEFT, WIDTH - RIGHT),
        HEIGHT - 8.0,
        "middle small",
        x.title,
    );
    body += &text(0.0, TOP - 4.0, "small", y.title);
    series
        .iter()
        .for_each(|series| body += &drawn(series, &across, &up));
    body += &labels(series, &up);
    Some(document(WIDTH, HEIGHT, title, &body))
}

fn marks(axis: &Axis, scale: &Scale) -> Vec<f64> {
    if axis.marks.is_empty() {
        scale.ticks()
    } else {
        axis.marks.clone()
    }
}

fn drawn(series: &Series, across: &Scale, up: &Scale) -> String {
    let places: Vec<_> = series
        .points
        .iter()
        .map(|(x, y)| (across.place(*x), up.place(*y)))
        .collect();
    let joined: Vec<_> = places
        .iter()
        .map(|(x, y)| format!("{x:.1},{y:.1}"))
        .collect();
    let dashes = if series.dashed {
        " stroke-dasharray=\"5 4\""
    } else {
        ""
    };
    let mut body = format!(
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\"{dashes}/>\n",
        joined.join(" "),
        series.color
    );
    for (x, y) in places {
        body += &format!(
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{}\"/>\n",
            series.color
        );
    }
    body
}

/// Beside the right ends of the lines, pushed apart where they would cover each other.
fn labels(series: &[Series], up: &Scale) -> String {
    let mut wanted: Vec<_> = series
        .iter()
        .filter_map(|series| Some((up.place(series.points.last()?.1) + 4.0, series)))
        .collect();
    wanted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let apart = |heights: &mut dyn Iterator<Item = &mut f64>, least: f64| {
        let mut last = least - LABEL_STEP;
        for height in heights {
            *height = height.max(last + LABEL_STEP);
            last = *height;
        }
    };
    let mut heights: Vec<f64> = wanted.iter().map(|(height, _)| *height).collect();
    apart(&mut heights.iter_mut(), TOP);
    // What was pushed below the axis goes up again, and pushes others up.
    let mut most = HEIGHT - BOTTOM + LABEL_STEP;
    for height in heights.iter_mut().rev() {
        *height = height.min(most - LABEL_STEP);
        most = *height;
    }
    let label = |(height, (_, series)): (f64, &(f64, &Series))| {
        let (x, color, words) = (WIDTH - RIGHT + 8.0, series.color, escape(&series.label));
        format!(
            "<text x=\"{x:.1}\" y=\"{height:.1}\" class=\"small\" style=\"fill:{color}\">{words}</text>\n"
        )
    };
    heights.into_iter().zip(&wanted).map(label).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(log: bool) -> Axis {
        Axis {
            title: "t",
            log,
            show: |figure| figure.to_string(),
            marks: Vec::new(),
        }
    }

    fn series(label: &str, points: &[(f64, f64)]) -> Series {
        Series {
            label: label.to_owned(),
            color: "#123456",
            dashed: false,
            points: points.to_vec(),
        }
    }

    #[test]
    fn every_series_is_drawn_and_named() {
        let all = [
            series("one", &[(1.0, 10.0), (2.0, 100.0)]),
            series("two", &[(1.0, 10.0), (2.0, 100.0)]),
        ];
        let chart = plot("p", &axis(false), &axis(true), &all).unwrap();
        assert_eq!(chart.matches("<polyline").count(), 2);
        assert_eq!(chart.matches("<circle").count(), 4);
        assert!(chart.contains(">one<") && chart.contains(">two<"));
    }

    #[test]
    fn labels_do_not_cover_each_other() {
        let all: Vec<_> = (0..8).map(|_| series("same", &[(1.0, 1.0)])).collect();
        let up = Scale::over([1.0, 2.0].into_iter(), false, HEIGHT - BOTTOM, TOP).unwrap();
        let drawn = labels(&all, &up);
        let heights: std::collections::BTreeSet<_> = drawn
            .lines()
            .map(|line| {
                line.split("y=\"")
                    .nth(1)
                    .unwrap()
                    .split('"')
                    .next()
                    .unwrap()
            })
            .collect();
        assert_eq!(heights.len(), 8);
    }

    #[test]
    fn nothing_is_no_chart() {
        assert!(plot("p", &axis(true), &axis(true), &[]).is_none());
        assert!(plot("p", &axis(true), &axis(true), &[series("none", &[])]).is_none());
    }
}
