//! What would make a damaged structure prove itself again.

use std::fmt;
use std::path::PathBuf;

use perennial_wal::Patch;

use crate::report::VerifyReport;

/// What a verification found, and what could be done about it.
#[derive(Debug, Default)]
pub struct Checked {
    /// What was found.
    pub report: VerifyReport,
    /// What would mend each of its problems, in their order. `None`: nothing here can.
    pub cures: Vec<Option<Cure>>,
}

/// What would mend a problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cure {
    /// Bytes go to a file.
    Patch(PathBuf, Patch),
    /// The identity is written again, both copies.
    Identity,
    /// The tail's file is made again, empty.
    Tail,
    /// It comes of other damage, and is looked at again when that is mended.
    Follows,
}

impl fmt::Display for Cure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Patch(_, patch) => patch.remedy.fmt(f),
            Self::Identity => f.write_str("write it again from the good copy"),
            Self::Tail => f.write_str("make an empty one, as an open would"),
            Self::Follows => f.write_str("mend the other damage first, which this comes of"),
        }
    }
}

impl Checked {
    /// Adds a problem.
    pub fn problem(&mut self, problem: crate::Problem, cure: Option<Cure>) {
        self.report.problems.push(problem);
        self.cures.push(cure);
    }

    /// Whether some of the damage can be mended.
    #[must_use]
    pub fn is_curable(&self) -> bool {
        let real = |cure: &Cure| *cure != Cure::Follows;
        self.cures.iter().flatten().any(real)
    }
}
