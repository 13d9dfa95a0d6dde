//! Charts as SVG text: small, without scripts, fonts or anything from elsewhere.

pub(super) const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 66.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 44.0;

/// Text as it may stand in a document.
pub(super) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            other => safe.push(other),
        }
    }
    safe
}

pub(super) fn document(width: f64, height: f64, title: &str, body: &str) -> String {
    let title = escape(title);
    format!(
        "<svg viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" role=\"img\" aria-label=\"{title}\">\
         <text x=\"0\" y=\"16\" class=\"title\">{title}</text>\n{body}</svg>\n"
    )
}

pub(super) fn text(x: f64, y: f64, class: &str, words: &str) -> String {
    let words = escape(words);
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\">{words}</text>\n")
}

pub(super) fn line(from: (f64, f64), to: (f64, f64), class: &str) -> String {
    let ((x1, y1), (x2, y2)) = (from, to);
    format!(
        "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" class=\"{class}\"/>\n"
    )
}

pub(super) fn rect(at: (f64, f64), size: (f64, f64), class: &str) -> String {
    let ((x, y), (width, height)) = (at, size);
    format!(
        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" class=\"{class}\"/>\n"
    )
}

/// What somebody sees who points at `body`.
pub(super) fn told(words: &str, body: &str) -> String {
    format!("<g><title>{}</title>{body}</g>\n", escape(words))
}

/// A bar: its label, and how high each of its parts is, from below, with the part's class.
pub(super) struct Bar {
    pub(super) label: String,
    pub(super) parts: Vec<(f64, &'static str)>,
    pub(super) told: String,
}

/// Bars beside each other, from zero. Every so many have their label under them.
pub(super) fn bars(
    title: &str,
    across: &str,
    bars: &[Bar],
    show: &dyn Fn(f64) -> String,
) -> String {
    let sums = bars
        .iter()
        .map(|bar| bar.parts.iter().map(|part| part.0).sum());
    let most = sums.fold(0.0, f64::max);
    let step = (WIDTH - LEFT - RIGHT) / count(bars.len().max(1));
    let labelled = bars.len().div_ceil(10).max(1);
    let mut body = axes(across, most, show);
    for (n, bar) in bars.iter().enumerate() {
        let x = LEFT + step * count(n);
        let mut y = HEIGHT - BOTTOM;
        let mut drawn = String::new();
        for (part, class) in bar.parts.iter().filter(|(part, _)| *part > 0.0) {
            let height = part / most * (HEIGHT - BOTTOM - TOP);
            y -= height;
            drawn += &rect((x + step * 0.1, y), (step * 0.8, height), class);
        }
        body += &told(&bar.told, &drawn);
        if n % labelled == 0 {
            let middle = x + step / 2.0;
            body += &text(middle, HEIGHT - BOTTOM + 17.0, "middle small", &bar.label);
        }
    }
    document(WIDTH, HEIGHT, title, &body)
}

/// Points from left to right, joined where they follow each other; `breaks` begin anew.
pub(super) fn curve(
    title: &str,
    across: &str,
    runs: &[Vec<(f64, f64)>],
    most: f64,
    show: &dyn Fn(f64) -> String,
) -> String {
    let last = runs
        .iter()
        .flatten()
        .map(|point| point.0)
        .fold(1.0, f64::max);
    let place = |(x, y): &(f64, f64)| {
        (
            LEFT + x / last * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - y / most.max(f64::MIN_POSITIVE) * (HEIGHT - BOTTOM - TOP),
        )
    };
    let mut body = axes(across, most, show);
    body += &text(LEFT, HEIGHT - BOTTOM + 17.0, "middle small", "0");
    body += &text(
        WIDTH - RIGHT,
        HEIGHT - BOTTOM + 17.0,
        "end small",
        &format!("{last:.0}"),
    );
    for run in runs {
        let points = run.iter().map(place);
        let joined: Vec<_> = points
            .clone()
            .map(|(x, y)| format!("{x:.1},{y:.1}"))
            .collect();
        body += &format!(
            "<polyline points=\"{}\" class=\"curve\"/>\n",
            joined.join(" ")
        );
        for (x, y) in points {
            body += &format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2\" class=\"point\"/>\n");
        }
    }
    document(WIDTH, HEIGHT, title, &body)
}

/// From zero up to `most`, in quarters, and what goes from left to right.
fn axes(across: &str, most: f64, show: &dyn Fn(f64) -> String) -> String {
    let mut body = String::new();
    for quarter in 0..=4_u8 {
        let part = f64::from(quarter) / 4.0;
        let y = HEIGHT - BOTTOM - part * (HEIGHT - BOTTOM - TOP);
        let class = if quarter == 0 { "axis" } else { "grid" };
        body += &line((LEFT, y), (WIDTH - RIGHT, y), class);
        body += &text(LEFT - 6.0, y + 4.0, "end small", &show(most * part));
    }
    let middle = f64::midpoint(LEFT, WIDTH - RIGHT);
    body + &text(middle, HEIGHT - 8.0, "middle small", across)
}

/// A number of things, for a chart.
#[expect(clippy::cast_precision_loss, reason = "a place in a drawing")]
pub(super) fn count(things: usize) -> f64 {
    things as f64
}

/// Bytes or entries, for a chart.
#[expect(clippy::cast_precision_loss, reason = "a place in a drawing")]
pub(super) fn figure(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_be_markup() {
        assert_eq!(escape("a<b> & \"c\""), "a&lt;b&gt; &amp; &quot;c&quot;");
        let chart = document(10.0, 10.0, "<script>", &text(0.0, 0.0, "", "<b>"));
        assert!(!chart.contains("<script>") && !chart.contains("<b>"));
    }

    #[test]
    fn a_bar_is_as_high_as_its_parts() {
        let bar = |parts: &[(f64, &'static str)]| Bar {
            label: "l".to_owned(),
            parts: parts.to_vec(),
            told: String::new(),
        };
        let all = [
            bar(&[(3.0, "one"), (1.0, "two")]),
            bar(&[(2.0, "one")]),
            bar(&[]),
        ];
        let chart = bars("t", "a", &all, &|figure| format!("{figure:.1}"));
        let high = HEIGHT - BOTTOM - TOP;
        for (part, class) in [(0.75, "one"), (0.25, "two"), (0.5, "one")] {
            let rect = format!("height=\"{:.1}\" class=\"{class}\"", part * high);
            assert!(chart.contains(&rect), "{rect}");
        }
        assert_eq!(chart.matches("<rect").count(), 3);
        assert!(chart.contains(">4.0<") && chart.contains(">1.0<"));
    }
}
