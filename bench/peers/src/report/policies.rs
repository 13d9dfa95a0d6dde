//! What `perennial-bench table` printed: how much each policy cuts the misses, and what it writes for that.

/// One policy's line.
#[derive(Debug, PartialEq)]
pub(super) struct Policy {
    pub(super) name: String,
    /// Of FIFO's misses, so much less: 0 to 1.
    pub(super) fewer_misses: f64,
    /// Bytes written to flash, over FIFO's.
    pub(super) flash: f64,
}

/// Lines of the table of means that have both figures; what else was printed is left out.
pub(super) fn parse(printed: &str) -> Vec<Policy> {
    let mut columns = None;
    let mut policies = Vec::new();
    for line in printed.lines() {
        let cells: Vec<&str> = line
            .trim()
            .trim_matches('|')
            .split('|')
            .map(str::trim)
            .collect();
        let place = |name: &str| cells.iter().position(|cell| *cell == name);
        if let (Some(misses), Some(flash)) = (place("MRR vs fifo"), place("flash bytes vs fifo")) {
            columns = Some((misses, flash));
        } else if let Some((misses, flash)) = columns {
            policies.extend(policy(&cells, misses, flash));
        }
    }
    policies
}

fn policy(cells: &[&str], misses: usize, flash: usize) -> Option<Policy> {
    Some(Policy {
        name: (*cells.first()?).to_owned(),
        fewer_misses: cells.get(misses)?.parse().ok()?,
        flash: cells.get(flash)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_means_are_found() {
        let printed = "\
| trace | % | MiB | segments | fifo |
|---|---|---|---|---|
| w01 | 1 | 3.5 | 64 | 0.500, 1.03 |

40 cells

| policy | MRR vs fifo | MRR vs exact lru | WA mean | WA most | flash bytes vs fifo | worst cell vs fifo, points |
|---|---|---|---|---|---|---|
| fifo | +0.000 | -0.090 | 1.03 | 1.10 | 1.00 | +0.0 |
| exact lru | +0.083 | +0.000 | | | | -0.1 |
| s3-merge | +0.174 | +0.100 | 1.20 | 1.61 | 0.95 | -0.3 |
";
        let policies = parse(printed);
        let names: Vec<_> = policies.iter().map(|policy| policy.name.as_str()).collect();
        assert_eq!(names, ["fifo", "s3-merge"], "exact lru writes nothing");
        assert_eq!((policies[1].fewer_misses, policies[1].flash), (0.174, 0.95));
    }

    #[test]
    fn nonsense_is_no_policy() {
        assert!(parse("").is_empty());
        assert!(parse("| a | b |\n| 1 | 2 |").is_empty());
    }
}
