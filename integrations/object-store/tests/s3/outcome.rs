//! What came of the functions, as a table for reading and for judging.

use std::any::Any;
use std::fmt;

/// What the bare client passes and the cache does not, and why that is as it should be.
const NOT_PROMISED: &[(&str, &str)] = &[(
    "response_extensions",
    "an answer out of the cache has no answer of HTTP that extensions could be of",
)];

/// How a function ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    /// And what it said.
    Failed(String),
}

impl Outcome {
    /// Of what `catch_unwind` caught.
    pub(crate) fn of_panic(panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Self::Failed(text.unwrap_or("a panic without words").to_string())
    }

    fn passed(&self) -> bool {
        *self == Self::Passed
    }

    fn word(&self) -> &str {
        if self.passed() { "yes" } else { "no" }
    }
}

/// One function.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) bare: Outcome,
    pub(crate) immutable: Outcome,
    pub(crate) revalidated: Outcome,
}

impl Row {
    fn outcomes(&self) -> [(&str, &Outcome); 3] {
        [
            ("bare", &self.bare),
            ("Immutable", &self.immutable),
            ("AlwaysRevalidate", &self.revalidated),
        ]
    }

    fn promised(&self) -> bool {
        NOT_PROMISED.iter().all(|(name, _)| *name != self.name)
    }

    /// The bare client passes, and the cache does not.
    fn broken(&self) -> bool {
        let through = self.immutable.passed() && self.revalidated.passed();
        self.promised() && self.bare.passed() && !through
    }
}

/// All functions on one server.
#[derive(Debug)]
pub(crate) struct Table {
    server: &'static str,
    version: &'static str,
    rows: Vec<Row>,
}

impl Table {
    pub(crate) fn new(server: &'static str, version: &'static str) -> Self {
        Self {
            server,
            version,
            rows: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Panics when something is broken, or when the bare client passes less than `at_least`.
    pub(crate) fn judge(&self, at_least: usize) {
        let broken: Vec<&Row> = self.rows.iter().filter(|row| row.broken()).collect();
        assert!(
            broken.is_empty(),
            "{} passes without the cache and not with it: {broken:#?}",
            self.server
        );
        let bare = self.rows.iter().filter(|row| row.bare.passed()).count();
        assert!(
            bare >= at_least,
            "of {} only {bare} functions pass without the cache: {:#?}",
            self.server,
            self.rows
        );
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            server, version, ..
        } = self;
        writeln!(
            f,
            "\n| {server}, object_store {version} | bare | `Immutable` | `AlwaysRevalidate` |"
        )?;
        writeln!(f, "|---|---|---|---|")?;
        for row in &self.rows {
            let [(_, bare), (_, immutable), (_, revalidated)] = row.outcomes();
            let (bare, immutable, revalidated) =
                (bare.word(), immutable.word(), revalidated.word());
            writeln!(
                f,
                "| `{}` | {bare} | {immutable} | {revalidated} |",
                row.name
            )?;
        }
        writeln!(f)?;
        for row in &self.rows {
            for (how, outcome) in row.outcomes() {
                if let Outcome::Failed(why) = outcome {
                    // Some say a whole document of XML.
                    let why: String = why.lines().collect::<Vec<_>>().join(" ");
                    let why: String = why.chars().take(200).collect();
                    writeln!(f, "- `{}`, {how}: {why}", row.name)?;
                }
            }
        }
        for (name, why) in NOT_PROMISED {
            writeln!(f, "- `{name}` is not promised: {why}")?;
        }
        Ok(())
    }
}

#[test]
fn what_the_bare_client_fails_is_not_held_against_the_cache() {
    let failed = || Outcome::Failed("no".into());
    let row = |bare, revalidated| Row {
        name: "get_opts",
        bare,
        immutable: Outcome::Passed,
        revalidated,
    };
    assert!(row(Outcome::Passed, failed()).broken());
    assert!(!row(failed(), failed()).broken());
    assert!(!row(Outcome::Passed, Outcome::Passed).broken());
}
