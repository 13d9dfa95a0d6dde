//! What the command line may say.

use std::path::PathBuf;

use clap::{ArgAction, Parser, Subcommand};

use crate::size::ByteSize;

const EXITS: &str = "Exit status: 0 fine, 1 error, 2 usage, 3 damage found, 10 does not exist, 11 locked by another process.";

/// A log-structured persistent cache that is still warm after a crash.
#[derive(Debug, Parser)]
#[command(name = "perennial", version, after_help = EXITS)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) verbosity: Verbosity,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How much is logged to stderr; the environment variable `RUST_LOG` wins.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Verbosity {
    /// Log more: -v opens, closes and recovery, -vv details.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Log errors only, no progress.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Kill a process that fills a cache, again and again, and compare what is left with the files it cached.
    Demo(Demo),
    /// The process that `demo` kills; its orders come through stdin.
    #[command(hide = true)]
    DemoChild,
    /// Show what a cache consists of; works while another process has it open.
    Stat(Look),
    /// Read every byte of a cache and check it; changes nothing.
    Verify(Look),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Demo {
    /// Files to cache. Default: the sources in cargo's registry, else the current directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) from: Option<PathBuf>,
    /// Where the cache is made; must be empty or absent, and is kept. Default: a temporary directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) cache: Option<PathBuf>,
    /// How often the process is killed; one more life closes cleanly.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) lives: u32,
    /// How much is put into the cache over all lives, such as 64MiB.
    #[arg(long, value_name = "SIZE", default_value = "512MiB")]
    pub(crate) bytes: ByteSize,
    /// Print one line of JSON on stdout; the table goes to stderr.
    #[arg(long)]
    pub(crate) json: bool,
    /// Repeat a run's operations and kill sizes. Default: by chance.
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Look {
    /// The cache's directory.
    #[arg(value_name = "DIR")]
    pub(crate) cache: PathBuf,
    /// Print one JSON document.
    #[arg(long)]
    pub(crate) json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    fn parse(line: &str) -> Result<Args, ErrorKind> {
        Args::try_parse_from(line.split(' ')).map_err(|error| error.kind())
    }

    fn demo(line: &str) -> Demo {
        match parse(line).unwrap().command {
            Command::Demo(demo) => demo,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn demo_has_defaults() {
        let demo = demo("perennial demo");
        assert_eq!((demo.lives, demo.bytes.0), (5, 512 << 20));
        assert!(demo.from.is_none() && demo.cache.is_none() && demo.seed.is_none() && !demo.json);
    }

    #[test]
    fn demo_takes_sizes_with_a_unit() {
        let demo = demo("perennial demo --lives 2 --bytes 8MiB --from a --cache b --json --seed 9");
        assert_eq!((demo.lives, demo.bytes.0, demo.seed), (2, 8 << 20, Some(9)));
        assert_eq!(
            (demo.from, demo.cache),
            (Some("a".into()), Some("b".into()))
        );
        assert!(demo.json);
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(
            parse("perennial demo --lives 0").unwrap_err(),
            ErrorKind::ValueValidation
        );
        assert_eq!(
            parse("perennial demo --bytes 8MB2").unwrap_err(),
            ErrorKind::ValueValidation
        );
        assert_eq!(
            parse("perennial stat").unwrap_err(),
            ErrorKind::MissingRequiredArgument
        );
        assert_eq!(
            parse("perennial frobnicate").unwrap_err(),
            ErrorKind::InvalidSubcommand
        );
        assert_eq!(
            parse("perennial -q -v stat x").unwrap_err(),
            ErrorKind::ArgumentConflict
        );
    }

    #[test]
    fn verbosity_may_follow_the_command() {
        let args = parse("perennial verify x -vv").unwrap();
        assert_eq!((args.verbosity.verbose, args.verbosity.quiet), (2, false));
    }
}
