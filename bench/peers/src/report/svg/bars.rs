//! Bars from left to right, with a limit across them.

use super::{document, line, text};

const WIDTH: f64 = 560.0;
const LEFT: f64 = 110.0;
const RIGHT: f64 = 90.0;
const TOP: f64 = 42.0;
const STEP: f64 = 22.0;
const THICK: f64 = 15.0;

pub(crate) struct Bar {
    pub(crate) label: String,
    pub(crate) figure: f64,
    /// The least and the most of the repeats.
    pub(crate) from_to: (f64, f64),
    pub(crate) color: &'static str,
    pub(crate) shown: String,
}

/// What no bar should pass.
pub(crate) struct Limit {
    pub(crate) label: String,
    pub(crate) figure: f64,
}

pub(crate) fn bars(title: &str, bars: &[Bar], limit: Option<&Limit>) -> String {
    let most = bars
        .iter()
        .map(|bar| bar.from_to.1)
        .chain(limit.map(|limit| limit.figure))
        .fold(0.0, f64::max);
    let place = |figure: f64| LEFT + figure / most.max(f64::MIN_POSITIVE) * (WIDTH - LEFT - RIGHT);
    let height = TOP + STEP * bars.len() as f64;
    let mut body = String::new();
    for (at, bar) in bars.iter().enumerate() {
        let top = TOP + STEP * at as f64;
        let middle = top + THICK / 2.0;
        body += &text(LEFT - 8.0, middle + 4.0, "end", &bar.label);
        body += &format!(
            "<rect x=\"{LEFT}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{THICK}\" fill=\"{}\"/>\n",
            (place(bar.figure) - LEFT).max(1.0),
            bar.color
        );
        let (least, most) = bar.from_to;
        if most > least {
            body += &line((place(least), middle), (place(most), middle), "spread");
        }
        body += &text(
            place(most.max(bar.figure)) + 6.0,
            middle + 4.0,
            "",
            &bar.shown,
        );
    }
    if let Some(limit) = limit {
        let x = place(limit.figure);
        body += &line((x, TOP - 6.0), (x, height), "limit");
        body += &text(x, TOP - 10.0, "end small", &limit.label);
    }
    document(WIDTH, height, title, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_figure_says() {
        let bar = |figure| Bar {
            label: "a".to_owned(),
            figure,
            from_to: (figure, figure),
            color: "#000",
            shown: String::new(),
        };
        let limit = Limit {
            label: "device".to_owned(),
            figure: 200.0,
        };
        let chart = bars("t", &[bar(100.0), bar(50.0)], Some(&limit));
        assert!(
            chart.contains("width=\"180.0\"") && chart.contains("width=\"90.0\""),
            "{chart}"
        );
        assert!(chart.contains("device"));
        assert!(bars("empty", &[], None).contains("</svg>"));
    }
}
