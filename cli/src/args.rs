//! What the command line may say.

use std::path::PathBuf;

use clap::{ArgAction, Parser, Subcommand};

use crate::bench::Bench;
use crate::checkpoint::Checkpoint;
use crate::completions::Completions;
use crate::config::show;
use crate::create::Create;
use crate::del::Del;
use crate::export::Export;
use crate::get::Get;
use crate::import::Import;
use crate::inspect::Inspect;
use crate::keys::Keys;
use crate::put::Put;
use crate::repair::Repair;
use crate::resize::Resize;
use crate::size::ByteSize;
use crate::stat::Stat;
use crate::warm::Warm;

const EXITS: &str = "Exit status: 0 fine, 1 error, 2 usage, 3 damage found, 10 does not exist, 11 locked by another process.";

/// A log-structured persistent cache that is still warm after a crash.
#[derive(Debug, Parser)]
#[command(name = "perennial", version, after_help = EXITS)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) verbosity: Verbosity,
    /// Settings of the user's. Default: perennial/config.toml below $XDG_CONFIG_HOME or $HOME/.config, if it is there.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "PERENNIAL_CONFIG",
        hide_env_values = true
    )]
    pub(crate) config: Option<PathBuf>,
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
    /// Make a new cache.
    Create(Create),
    /// Print the value of a key, as it is; works while another process has the cache open.
    Get(Get),
    /// Store a value.
    ///
    /// When it ends with status 0 the entry survives a power cut.
    Put(Put),
    /// Remove keys.
    ///
    /// When it ends, what it removed stays removed after a power cut.
    Del(Del),
    /// List the keys; works while another process has the cache open.
    ///
    /// They are shown so that each is one line and none is lost: \\ \n \t \r, and \x with two digits for what is no UTF-8 or
    /// cannot be seen. With --escaped all commands read that form.
    Keys(Keys),
    /// Show a cache in a few lines, once or again and again; works while another process has it open.
    Stat(Stat),
    /// Show every segment file of a cache; works while another process has it open.
    Inspect(Inspect),
    /// Read every byte of a cache and check it; changes nothing.
    Verify(Look),
    /// Say how the damage that `verify` finds would be mended; with --apply, mend it.
    ///
    /// A damaged entry is forgotten, and no older version of it shows; everything else stays as it is. Each file that is
    /// written to is copied to the directory `quarantine` in the cache's own first.
    Repair(Repair),
    /// Write a checkpoint, so that the next open has nothing to replay.
    Checkpoint(Checkpoint),
    /// Change how large a cache may be.
    ///
    /// The new capacity is written to perennial.toml in the cache's directory, which this command reads each time. A program
    /// that opens the cache by itself decides for itself.
    Resize(Resize),
    /// Read entries, so that they are in the page cache.
    ///
    /// That is what stays of it when the command ends; the memory tier belongs to a process, and goes with it. To the
    /// eviction policy these are no reads.
    Warm(Warm),
    /// Write the live entries as one stream, under a checksum; works while another process has the cache open.
    ///
    /// Keys, values, priorities and ends. docs/export.md has its format.
    Export(Export),
    /// Store the entries of a stream: all of them, or none where it is damaged.
    ///
    /// It is read to its end before the first entry is stored; what comes through a pipe is kept in a file without a name in the
    /// cache's directory meanwhile. What the cache has of the same keys is replaced, the rest stays.
    Import(Import),
    /// Measure how fast a cache is in a directory: fill, read, and both mixed. Every value that is read is checked.
    ///
    /// The cache is a new one, in a directory of its own below DIR, and is removed in the end, so nothing that is there is
    /// touched. (A kill leaves it: perennial-bench-* may be removed.) Reads come from the page cache where that has room.
    Bench(Bench),
    /// Kill a process that fills a cache, again and again, and compare what is left with the files it cached.
    Demo(Demo),
    /// The process that `demo` kills; its orders come through stdin.
    #[command(hide = true)]
    DemoChild,
    /// Print a script for a shell that completes command lines.
    ///
    /// For bash: perennial completions bash > ~/.local/share/bash-completion/completions/perennial
    Completions(Completions),
    /// Show the settings.
    Config(show::Command),
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
    #[arg(long, allow_hyphen_values = true, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) lives: u32,
    /// How much is put into the cache over all lives, such as 64MiB.
    #[arg(
        long,
        allow_hyphen_values = true,
        value_name = "SIZE",
        default_value = "512MiB"
    )]
    pub(crate) bytes: ByteSize,
    /// Print one line of JSON on stdout; the table goes to stderr.
    #[arg(long)]
    pub(crate) json: bool,
    /// Repeat a run's operations and kill sizes. Default: by chance.
    #[arg(long, allow_hyphen_values = true, value_name = "N")]
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
