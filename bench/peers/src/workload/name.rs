//! Workloads by name, as the command line and the samples have them.

use std::fmt;
use std::str::FromStr;

use crate::failure::Failure;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Workload {
    /// Fresh keys with values of so many bytes, one thread; a flush at the end.
    Fill { bytes: usize },
    /// Durable puts of 4 KiB.
    Durable { threads: usize },
    /// Hits of 4 KiB; uniform and zipf, 1, 2 and 8 threads.
    Hits { place: Place },
    /// Keys that are not there, beside so many that are.
    Miss { keys: u64 },
    /// 4 KiB out of 1 MiB.
    Range,
    /// One put, four and a half hits, as many misses; data for two and a half times the capacity.
    Mixed { bytes: usize },
    /// Reads through, from a footprint of three times the capacity.
    Churn,
    /// Until it serves again.
    Restart { entries: u64, ending: Ending },
    /// Memory for each entry.
    Memory { entries: u64 },
    /// Bytes at the device for each byte put. Paced: 1 MB/s.
    Amplify { bytes: usize, paced: bool },
    /// Gets beside writes that saturate the device.
    Busy,
}

/// Where a hit is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Memory,
    /// Just put: perennial's tail, others' write buffers.
    Tail,
    PageCache,
    Disk,
}

/// How the process before ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Clean,
    Kill,
    /// Killed just before the next checkpoint is due.
    KillWorst,
    /// Killed when 256 MiB of log came behind a checkpoint.
    KillRecent,
}

const PLACES: [(Place, &str); 4] = [
    (Place::Memory, "memory"),
    (Place::Tail, "tail"),
    (Place::PageCache, "page-cache"),
    (Place::Disk, "disk"),
];

const ENDINGS: [(Ending, &str); 4] = [
    (Ending::Clean, "clean"),
    (Ending::Kill, "kill"),
    (Ending::KillWorst, "kill-worst"),
    (Ending::KillRecent, "kill-recent"),
];

fn name_of<T: PartialEq>(names: &[(T, &'static str)], wanted: &T) -> &'static str {
    names
        .iter()
        .find(|(it, _)| it == wanted)
        .map_or("", |(_, name)| name)
}

fn named<T: Copy>(names: &[(T, &'static str)], wanted: &str) -> Option<T> {
    names
        .iter()
        .find(|(_, name)| *name == wanted)
        .map(|(it, _)| *it)
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fill { bytes } => write!(f, "fill/{}", size(*bytes)),
            Self::Durable { threads } => write!(f, "durable/{threads}t"),
            Self::Hits { place } => write!(f, "hit/{}", name_of(&PLACES, place)),
            Self::Miss { keys } => write!(f, "miss/{}", count(*keys)),
            Self::Range => f.write_str("range"),
            Self::Mixed { bytes } => write!(f, "mixed/{}", size(*bytes)),
            Self::Churn => f.write_str("churn"),
            Self::Restart { entries, ending } => {
                write!(
                    f,
                    "restart/{}/{}",
                    count(*entries),
                    name_of(&ENDINGS, ending)
                )
            }
            Self::Memory { entries } => write!(f, "memory/{}", count(*entries)),
            Self::Amplify { bytes, paced } => {
                let pace = if *paced { "paced" } else { "full" };
                write!(f, "amplify/{}/{pace}", size(*bytes))
            }
            Self::Busy => f.write_str("busy"),
        }
    }
}

impl FromStr for Workload {
    type Err = Failure;

    fn from_str(name: &str) -> Result<Self, Failure> {
        let parts: Vec<&str> = name.split('/').collect();
        let parsed = match parts[..] {
            ["fill", bytes] => parse_size(bytes).map(|bytes| Self::Fill { bytes }),
            ["durable", threads] => threads
                .strip_suffix('t')
                .and_then(|threads| threads.parse().ok())
                .map(|threads| Self::Durable { threads }),
            ["hit", place] => named(&PLACES, place).map(|place| Self::Hits { place }),
            ["miss", keys] => parse_count(keys).map(|keys| Self::Miss { keys }),
            ["range"] => Some(Self::Range),
            ["mixed", bytes] => parse_size(bytes).map(|bytes| Self::Mixed { bytes }),
            ["churn"] => Some(Self::Churn),
            ["restart", entries, ending] => parse_count(entries)
                .zip(named(&ENDINGS, ending))
                .map(|(entries, ending)| Self::Restart { entries, ending }),
            ["memory", entries] => parse_count(entries).map(|entries| Self::Memory { entries }),
            ["amplify", bytes, pace @ ("full" | "paced")] => {
                let paced = pace == "paced";
                parse_size(bytes).map(|bytes| Self::Amplify { bytes, paced })
            }
            ["busy"] => Some(Self::Busy),
            _ => None,
        };
        parsed
            .ok_or_else(|| Failure::new(format!("there is no workload {name}: `list` prints all")))
    }
}

/// As `128B`, `4KiB`, `1MiB`.
pub(crate) fn size(bytes: usize) -> String {
    match bytes {
        _ if bytes > 0 && bytes.is_multiple_of(1 << 20) => format!("{}MiB", bytes >> 20),
        _ if bytes > 0 && bytes.is_multiple_of(1 << 10) => format!("{}KiB", bytes >> 10),
        _ => format!("{bytes}B"),
    }
}

fn parse_size(name: &str) -> Option<usize> {
    let (digits, unit) = name.split_at(name.find(|c: char| !c.is_ascii_digit())?);
    let shift = match unit {
        "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        _ => return None,
    };
    let bytes: usize = digits.parse().ok()?;
    (bytes > 0).then(|| bytes.checked_mul(1 << shift))?
}

/// As `100k`, `10M`.
fn count(entries: u64) -> String {
    match entries {
        _ if entries > 0 && entries.is_multiple_of(1_000_000) => {
            format!("{}M", entries / 1_000_000)
        }
        _ if entries > 0 && entries.is_multiple_of(1000) => format!("{}k", entries / 1000),
        _ => entries.to_string(),
    }
}

fn parse_count(name: &str) -> Option<u64> {
    let (digits, by) = match name.as_bytes().last()? {
        b'M' => (&name[..name.len() - 1], 1_000_000),
        b'k' => (&name[..name.len() - 1], 1000),
        _ => (name, 1),
    };
    let entries: u64 = digits.parse().ok()?;
    (entries > 0).then(|| entries.checked_mul(by))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        let names = [
            "fill/128B",
            "fill/4KiB",
            "fill/1MiB",
            "durable/64t",
            "hit/memory",
            "hit/page-cache",
            "miss/10M",
            "miss/100k",
            "range",
            "mixed/64KiB",
            "churn",
            "restart/50M/kill-worst",
            "restart/1M/clean",
            "memory/10M",
            "amplify/128B/paced",
            "amplify/4KiB/full",
            "busy",
        ];
        for name in names {
            assert_eq!(name.parse::<Workload>().unwrap().to_string(), name);
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for name in [
            "",
            "fill",
            "fill/4",
            "fill/0B",
            "fill/4GiB",
            "fill/KiB",
            "durable/8",
            "hit/cloud",
            "restart/1M",
            "restart/0/kill",
            "amplify/4KiB/slow",
            "miss/99999999999999999999M",
            "busy/2",
        ] {
            assert!(name.parse::<Workload>().is_err(), "{name}");
        }
    }
}
