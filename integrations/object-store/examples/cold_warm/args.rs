//! The command line.

use std::time::Duration;

use crate::servers::Kind;
use crate::{Failure, MIB};

/// The largest range, four times.
const OBJECT_MIB_MIN: u64 = 16;

pub(crate) struct Args {
    pub(crate) server: Option<Kind>,
    pub(crate) delay: Duration,
    pub(crate) object_bytes: u64,
    pub(crate) repeats: u32,
    pub(crate) judge: bool,
}

impl Args {
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let mut args = Self {
            server: None,
            delay: Duration::from_millis(50),
            object_bytes: 64 * MIB,
            repeats: 15,
            judge: false,
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            match word.as_str() {
                "--judge" => args.judge = true,
                "--server" => args.server = Some(kind(&value()?)?),
                "--delay-ms" => args.delay = Duration::from_millis(value()?.parse()?),
                "--repeats" => args.repeats = value()?.parse::<u32>()?.max(1),
                "--object-mib" => {
                    args.object_bytes = value()?.parse::<u64>()?.max(OBJECT_MIB_MIN) * MIB;
                }
                _ => return Err(format!("{word} is no option").into()),
            }
        }
        Ok(args)
    }
}

fn kind(name: &str) -> Result<Kind, Failure> {
    let known = [Kind::S3sFs, Kind::Moto];
    let kind = known.into_iter().find(|kind| kind.name() == name);
    kind.ok_or_else(|| format!("{name} is no server: s3s-fs, moto").into())
}
