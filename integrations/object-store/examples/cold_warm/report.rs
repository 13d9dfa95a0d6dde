//! The table.

use std::fmt;
use std::time::Duration;

use os14::ObjectStoreExt;
use tokio::time::Instant;

use crate::args::Args;
use crate::measure::{Sample, Samples};
use crate::site::Site;
use crate::{Failure, KIB, MIB};

/// At most, cold over direct.
const COLD_MAX: f64 = 1.1;
/// At least, direct over warm.
const WARM_MIN: f64 = 20.0;

/// One size.
struct Row {
    bytes: u64,
    samples: Samples,
    reopened: Vec<Sample>,
}

pub(crate) struct Report {
    heading: String,
    rows: Vec<Row>,
}

impl Report {
    /// With what the way and the server cost alone, which is a part of each cold read.
    pub(crate) async fn new(site: &Site, args: &Args) -> Result<Self, Failure> {
        let mut times = Vec::new();
        for _ in 0..9 {
            let start = Instant::now();
            site.far.get_range(&site.objects[0].path, 0..1).await?;
            times.push(start.elapsed());
        }
        let heading = format!(
            "Objects of {} MiB on {}, {} ms away; one byte takes {}. Medians of {} reads.",
            args.object_bytes / MIB,
            site.server.kind().name(),
            args.delay.as_millis(),
            ms(median(times)),
            args.repeats
        );
        Ok(Self {
            heading,
            rows: Vec::new(),
        })
    }

    pub(crate) fn push(&mut self, bytes: u64, samples: Samples) {
        self.rows.push(Row {
            bytes,
            samples,
            reopened: Vec::new(),
        });
    }

    pub(crate) fn push_reopened(&mut self, bytes: u64, sample: Sample) {
        let row = self.rows.iter_mut().find(|row| row.bytes == bytes);
        if let Some(row) = row {
            row.reopened.push(sample);
        }
    }

    /// Is it as good as it should be?
    pub(crate) fn fine(&self) -> bool {
        let cold = self.rows.iter().all(|row| row.cold() <= COLD_MAX);
        let warm = self.rows.iter().all(|row| row.warm() >= WARM_MIN);
        cold && warm && self.rows.iter().all(|row| requests(&row.reopened) == 0)
    }
}

impl Row {
    /// The worst of the cold ones, over the direct one.
    fn cold(&self) -> f64 {
        let Samples {
            unknown,
            known,
            half,
            ..
        } = &self.samples;
        let worst = [unknown, known, half].map(|cell| took(cell));
        let worst = worst.into_iter().max().unwrap_or_default();
        ratio(worst, took(&self.samples.direct))
    }

    /// The direct one over the warm one.
    fn warm(&self) -> f64 {
        ratio(took(&self.samples.direct), took(&self.samples.warm))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{}\n", self.heading)?;
        writeln!(
            f,
            "| range | direct | cold, unknown object | cold, known object | half of it there \
             | warm | after reopening | worst cold / direct | direct / warm |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|---|---|---|")?;
        for row in &self.rows {
            let size = match row.bytes {
                bytes if bytes < MIB => format!("{} KiB", bytes / KIB),
                bytes => format!("{} MiB", bytes / MIB),
            };
            let Samples {
                direct,
                unknown,
                known,
                half,
                warm,
            } = &row.samples;
            write!(f, "| {size} |")?;
            for cell in [direct, unknown, known, half, warm, &row.reopened] {
                write!(f, " {} |", ms(took(cell)))?;
            }
            writeln!(f, " {:.2} | {:.0} |", row.cold(), row.warm())?;
        }
        writeln!(f)?;
        for row in &self.rows {
            writeln!(
                f,
                "- {} KiB, requests of all reads: direct {}, unknown {}, known {}, half there {}, after reopening {}",
                row.bytes / KIB,
                requests(&row.samples.direct),
                requests(&row.samples.unknown),
                requests(&row.samples.known),
                requests(&row.samples.half),
                requests(&row.reopened),
            )?;
        }
        let word = if self.fine() {
            "as wanted"
        } else {
            "NOT AS WANTED"
        };
        write!(
            f,
            "\n{word}: cold at most {COLD_MAX} direct reads, warm {WARM_MIN} times as fast, no request after reopening"
        )
    }
}

fn took(samples: &[Sample]) -> Duration {
    median(samples.iter().map(|sample| sample.took).collect())
}

fn requests(samples: &[Sample]) -> u64 {
    samples.iter().map(|sample| sample.requests).sum()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn ratio(a: Duration, b: Duration) -> f64 {
    a.as_secs_f64() / b.as_secs_f64().max(1e-9)
}

fn ms(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}
