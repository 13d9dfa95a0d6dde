//! What a program counted while it used the cache: a line of JSON each time.

use std::io;
use std::path::Path;

use serde_json::Value;

use crate::failure::Failure;

/// Lookups that found something, as `Cache::stats()` names them.
const HITS: [&str; 3] = ["hits_tail", "hits_memory", "hits_disk"];

/// How a cache was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Opened {
    /// The line that first tells of it.
    pub(super) line: usize,
    pub(super) open_us: u64,
    pub(super) from_checkpoint: u64,
    pub(super) replayed: u64,
    pub(super) holes: u64,
    pub(super) damaged: u64,
    pub(super) forgotten_all: u64,
}

/// What all lines say.
#[derive(Debug, Default)]
pub(super) struct Samples {
    /// Of each life the parts of lookups that found something, from one line to the next, by the line's number.
    pub(super) hits: Vec<Vec<(usize, f64)>>,
    pub(super) opens: Vec<Opened>,
    /// How fast the log grew, in bytes a second, by the line's number.
    pub(super) growth: Vec<(usize, u64)>,
    /// Hits and misses so far in this life.
    before: Option<(u64, u64)>,
}

impl Samples {
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Failure::Missing(path.to_owned()),
            _ => Failure::file(path, error),
        })?;
        let mut samples = Self::default();
        for (n, line) in text.lines().enumerate() {
            if !line.trim().is_empty() {
                let taken = samples.take(n + 1, line);
                taken.map_err(|what| Failure::NoStats {
                    path: path.to_owned(),
                    line: n + 1,
                    what,
                })?;
            }
        }
        Ok(samples)
    }

    fn take(&mut self, line: usize, text: &str) -> Result<(), String> {
        let sample: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let number = |name: &str| sample[name].as_u64();
        if let Some(bytes) = sample.get("logged_bytes_per_s") {
            self.growth
                .extend(bytes.as_u64().map(|bytes| (line, bytes)));
            return Ok(());
        }
        let found = HITS.iter().map(|name| number(name)).sum::<Option<u64>>();
        let (Some(found), Some(misses)) = (found, number("misses")) else {
            return Err("no hits and misses".to_owned());
        };
        let hits = found + number("hits_unlogged").unwrap_or_default();
        let count = |name| number(name).unwrap_or_default();
        let opened = Opened {
            line,
            open_us: count("open_us"),
            from_checkpoint: count("recovered_from_checkpoint"),
            replayed: count("replayed"),
            holes: count("holes"),
            damaged: count("damaged"),
            forgotten_all: count("forgotten_all"),
        };
        self.follow(opened, (hits, misses));
        Ok(())
    }

    /// Counts are since an open, so a cache was opened again where they go back, or where its open is another.
    fn follow(&mut self, opened: Opened, now: (u64, u64)) {
        let last = self.opens.last().copied();
        let same = last.is_some_and(|last| {
            Opened {
                line: last.line,
                ..opened
            } == last
        });
        let goes_on = |before: &(u64, u64)| same && before.0 <= now.0 && before.1 <= now.1;
        let before = self.before.filter(goes_on);
        self.before = Some(now);
        if before.is_none() {
            self.opens.push(opened);
            self.hits.push(Vec::new());
        }
        let (hits, misses) = before.unwrap_or_default();
        let (hits, misses) = (now.0 - hits, now.1 - misses);
        if let Some(run) = self.hits.last_mut()
            && hits + misses > 0
        {
            let part = super::svg::figure(hits) / super::svg::figure(hits + misses);
            run.push((opened.line, part));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(hits: u64, misses: u64, open_us: u64) -> String {
        format!(
            "{{\"hits_tail\":{hits},\"hits_memory\":0,\"hits_disk\":0,\"misses\":{misses},\"open_us\":{open_us},\"replayed\":3}}"
        )
    }

    #[test]
    fn ratios_are_from_one_line_to_the_next_and_begin_anew_with_an_open() {
        let mut samples = Samples::default();
        let lines = [(10, 10, 5), (40, 20, 5), (40, 20, 5), (1, 3, 7), (1, 4, 7)];
        for (n, (hits, misses, open_us)) in lines.into_iter().enumerate() {
            samples.take(n + 1, &line(hits, misses, open_us)).unwrap();
        }
        assert_eq!(
            samples.hits,
            [vec![(1, 0.5), (2, 0.75)], vec![(4, 0.25), (5, 0.0)]]
        );
        let opens: Vec<_> = samples
            .opens
            .iter()
            .map(|one| (one.line, one.open_us))
            .collect();
        assert_eq!(opens, [(1, 5), (4, 7)]);
        assert_eq!(samples.opens[0].replayed, 3);
    }

    #[test]
    fn a_line_of_something_else_is_refused() {
        let mut samples = Samples::default();
        for text in [
            "",
            "7",
            "{}",
            "{\"misses\":1}",
            "{\"hits_tail\":1,\"misses\":1}",
        ] {
            assert!(samples.take(1, text).is_err(), "{text}");
        }
        let watched = [
            "{\"logged_bytes_per_s\":null}",
            "{\"logged_bytes_per_s\":9}",
        ];
        for (n, text) in watched.into_iter().enumerate() {
            samples.take(n + 1, text).unwrap();
        }
        assert_eq!(samples.growth, [(2, 9)]);
        assert!(samples.opens.is_empty());
    }
}
