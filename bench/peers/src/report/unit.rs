//! Figures in words.

/// What is shown first of a workload, in this order; everything else follows by name.
const FIRST: [&str; 26] = [
    "bytes_per_s",
    "kept_bytes_per_s",
    "kept_ops_per_s",
    "put_ops_per_s",
    "ops_per_s",
    "ns_per_op",
    "hit_ratio",
    "lost",
    "kept",
    "done",
    "p50_ns",
    "p99_ns",
    "p999_ns",
    "get_p50_ns",
    "get_p99_ns",
    "get_p999_ns",
    "put_p50_ns",
    "put_p99_ns",
    "put_p999_ns",
    "open_s",
    "first_hit_s",
    "all_hits_s",
    "rss_bytes_per_entry",
    "allocated_bytes_per_entry",
    "write_amplification",
    "write_amplification_of_process",
];

/// Not shown in tables; in the JSON all the same.
fn is_minor(name: &str) -> bool {
    name.ends_with("p90_ns") || name.ends_with("max_ns")
}

/// Names of figures in the order they are shown.
pub(super) fn names<'a>(all: &[&'a str]) -> Vec<&'a str> {
    let mut shown: Vec<&str> = all.iter().copied().filter(|name| !is_minor(name)).collect();
    let place = |name: &str| {
        FIRST
            .iter()
            .position(|first| *first == name)
            .unwrap_or(FIRST.len())
    };
    shown.sort_by(|a, b| place(a).cmp(&place(b)).then(a.cmp(b)));
    shown
}

/// A figure with the unit that its name ends with.
pub(super) fn show(name: &str, figure: f64) -> String {
    if name.ends_with("bytes_per_s") {
        format!("{} MB/s", round(figure / 1e6))
    } else if name.ends_with("_per_s") {
        thousands(figure)
    } else if name.ends_with("_ns") || name == "ns_per_op" || name == "open_ns_per_entry" {
        time(figure)
    } else if name.ends_with("_s") && !name.contains("_per_") {
        time(figure * 1e9)
    } else if name.ends_with("_bytes") || name.ends_with("bytes_before") {
        format!("{} MB", round(figure / 1e6))
    } else if matches!(name, "entries" | "evicted" | "replayed" | "checkpoints") {
        thousands(figure)
    } else {
        round(figure)
    }
}

/// As `1.23M`.
pub(super) fn thousands(figure: f64) -> String {
    match figure {
        _ if figure >= 1e6 => format!("{}M", round(figure / 1e6)),
        _ if figure >= 1e3 => format!("{}k", round(figure / 1e3)),
        _ => round(figure),
    }
}

/// Nanoseconds, in a unit that suits them.
pub(super) fn time(ns: f64) -> String {
    match ns {
        _ if ns >= 1e9 => format!("{} s", round(ns / 1e9)),
        _ if ns >= 1e6 => format!("{} ms", round(ns / 1e6)),
        _ if ns >= 1e3 => format!("{} us", round(ns / 1e3)),
        _ => format!("{} ns", round(ns)),
    }
}

/// The same without zeros at the end, for axes.
pub(super) fn plain(shown: &str) -> String {
    let digits = shown
        .find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-'))
        .unwrap_or(shown.len());
    let (number, unit) = shown.split_at(digits);
    if !number.contains('.') {
        return shown.to_owned();
    }
    let number = number.trim_end_matches('0').trim_end_matches('.');
    format!("{number}{unit}")
}

/// Three digits.
pub(super) fn round(figure: f64) -> String {
    match figure.abs() {
        0.0 => "0".to_owned(),
        size if size >= 100.0 => format!("{figure:.0}"),
        size if size >= 10.0 => format!("{figure:.1}"),
        size if size >= 0.01 => format!("{figure:.2}"),
        _ => format!("{figure:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_units() {
        for (name, figure, shown) in [
            ("bytes_per_s", 4.8e9, "4800 MB/s"),
            ("ops_per_s", 1_234_567.0, "1.23M"),
            ("p99_ns", 12_345.0, "12.3 us"),
            ("first_hit_s", 0.0951, "95.1 ms"),
            ("ns_per_op", 45.6, "45.6 ns"),
            ("disk_bytes", 2e6, "2.00 MB"),
            ("hit_ratio", 0.5, "0.50"),
            ("cpu_s_per_gb", 0.25, "0.25"),
            ("lost", 0.0, "0"),
        ] {
            assert_eq!(show(name, figure), shown, "{name}");
        }
    }

    #[test]
    fn axes_have_no_zeros_at_the_end() {
        for (shown, wanted) in [
            ("10.0 ms", "10 ms"),
            ("100 us", "100 us"),
            ("1.00M", "1M"),
            ("0.50", "0.5"),
            ("2.00", "2"),
            ("0", "0"),
        ] {
            assert_eq!(plain(shown), wanted);
        }
    }

    #[test]
    fn what_matters_comes_first() {
        assert_eq!(
            names(&["a", "p90_ns", "p99_ns", "ops_per_s"]),
            ["ops_per_s", "p99_ns", "a"]
        );
    }
}
