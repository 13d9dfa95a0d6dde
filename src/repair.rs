//! Mending a cache that nobody has open, in place: what proves itself stays where it is, byte for byte.
//!
//! ```text
//!   verify ─► problems, each with its cure ─► copies of the files to be written ─► the cures ─► sync ─┐
//!     ▲                                                                                               │
//!     └──────────────── until there is no problem, or none that can be mended ────────────────────────┘
//! ```
//! Several rounds, because damage hides damage: an extent that is given up leaves a reference that points at nothing. A
//! repair that is killed leaves what the next one finds; each single cure only says of its place what an open would make
//! of it (`docs/recovery.md`).

mod quarantine;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use perennial_failpoints::StdFs;
use perennial_failpoints::fs::{Dir, Fs, OpenMode, write_all_at};
use perennial_recovery::{Checked, Cure, Problem, VerifyReport, identity};
use perennial_wal::{Patch, open_tail_file};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::look::Look;
use crate::verify::check;
use quarantine::Quarantine;

pub use quarantine::QUARANTINE_NAME;

/// Damage that is mended shows more of it a few times: extent, reference, trailer; part, head, trailer; the next entry of
/// a destroyed sector of a kept segment.
const MOST_ROUNDS: usize = 64;

/// Whether a repair writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RepairMode {
    /// Says what would be done, and changes nothing.
    #[default]
    Dry,
    /// Does it.
    Apply,
}

/// A problem, and what is done about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Repair {
    /// What is wrong, and where.
    #[serde(flatten)]
    pub problem: Problem,
    /// What would be done, or was; `None`: it cannot be mended.
    pub remedy: Option<String>,
}

/// What a repair found and did.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct RepairReport {
    /// True when it was done; else it is what would be done first, and mending it may show more.
    pub applied: bool,
    /// In the order in which they were found.
    pub repairs: Vec<Repair>,
    /// Copies of the files as they were before anything was written to them.
    pub quarantined: Vec<String>,
    /// What a verification says now.
    pub verified: VerifyReport,
}

impl RepairReport {
    /// True where a verification finds no damage now.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.verified.problems.is_empty()
    }
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { problem, remedy } = self;
        let remedy = remedy.as_deref().unwrap_or("cannot be mended");
        write!(f, "{problem}: {remedy}")
    }
}

/// Mends what [`verify`](crate::verify()) finds in the cache in the directory `path`, or says how it would.
///
/// An entry that is damaged is forgotten, and no older version of it shows; all others stay as they are. Where one bit of a
/// header, or of a structure without values, has flipped, it is flipped back, and nothing is lost. Before a file is
/// written to it is copied to the directory [`QUARANTINE_NAME`] in the cache's own, which no cache reads and no capacity counts.
///
/// What cannot be mended is left as it is: a missing segment, headers of which both copies are damaged. A later open goes on
/// with what is left. Memory: as [`verify`](crate::verify()).
///
/// # Errors
/// As [`verify`](crate::verify()): [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) where both copies of the identity are
/// damaged, without which nothing proves itself. [`ErrorKind::Io`](crate::ErrorKind::Io) where something cannot be copied,
/// and nothing is written then; or not be written: it can be tried again.
pub fn repair(path: impl AsRef<Path>, mode: RepairMode) -> Result<RepairReport> {
    repair_with(Arc::new(StdFs), path, mode)
}

/// Like [`repair`], over any file system.
///
/// # Errors
/// As [`repair`].
pub fn repair_with(
    fs: Arc<dyn Fs>,
    path: impl AsRef<Path>,
    mode: RepairMode,
) -> Result<RepairReport> {
    let mut look = Look::open(&*fs, path.as_ref(), true)?;
    if mode == RepairMode::Dry {
        let checked = check(&look)?;
        return Ok(RepairReport {
            applied: false,
            repairs: repairs(&checked).collect(),
            quarantined: Vec::new(),
            verified: checked.report,
        });
    }
    if look.lock()? {
        // Until now somebody may have had it open.
        look.read_again(&*fs)?;
    }
    let mut quarantine = Quarantine::default();
    let mut done = Vec::new();
    let mut checked = check(&look)?;
    for _ in 0..MOST_ROUNDS {
        if !checked.is_curable() {
            break;
        }
        mend(&*fs, &look, &checked, &mut quarantine)?;
        done.extend(repairs(&checked).filter(|repair| repair.remedy.is_some()));
        look.read_again(&*fs)?;
        let before = std::mem::replace(&mut checked, check(&look)?);
        if before.report.problems == checked.report.problems {
            // What was written does not stay.
            break;
        }
    }
    done.extend(repairs(&checked));
    Ok(RepairReport {
        applied: true,
        repairs: done,
        quarantined: quarantine.copies,
        verified: checked.report,
    })
}

fn repairs(checked: &Checked) -> impl Iterator<Item = Repair> {
    let problems = checked.report.problems.iter().zip(&checked.cures);
    problems.map(|(problem, cure)| Repair {
        problem: problem.clone(),
        remedy: cure.as_ref().map(Cure::to_string),
    })
}

/// Copies first, all of them: on a full disk nothing is changed.
fn mend(fs: &dyn Fs, look: &Look, checked: &Checked, quarantine: &mut Quarantine) -> Result<()> {
    for cure in checked.cures.iter().flatten() {
        match cure {
            Cure::Patch(path, _) => {
                let (dir, name) = place(fs, look, path)?;
                quarantine.copy(fs, look, &*dir, &name)?;
            }
            Cure::Identity => quarantine.copy(fs, look, &*look.dir, identity::FILE_NAME)?,
            Cure::Tail | Cure::Follows => {}
        }
    }
    for cure in checked.cures.iter().flatten() {
        match cure {
            Cure::Patch(path, patch) => write(fs, look, path, patch)?,
            Cure::Identity => identity::write(&*look.dir, &look.identity)?,
            Cure::Tail => {
                let (dir, name) = place(fs, look, &look.tail.path)?;
                drop(open_tail_file(&*dir, &name, look.identity.tail.ring_bytes)?);
            }
            Cure::Follows => {}
        }
    }
    Ok(())
}

/// The directory of a file, a tail's perhaps, and its name.
fn place(fs: &dyn Fs, look: &Look, path: &Path) -> Result<(Arc<dyn Dir>, String)> {
    let name = path.file_name().unwrap_or_default();
    let name = name.to_string_lossy().into_owned();
    match path.parent() {
        Some(parent) if parent != look.dir.path() => {
            let shown = parent.display();
            // As an open does: a tail's directory may be of a file system that a restart empties.
            let dir = fs.create_dir_all(parent).and_then(|()| fs.open_dir(parent));
            let dir = dir.map_err(|e| Error::io(format!("cannot open {shown}"), e))?;
            Ok((dir, name))
        }
        _ => Ok((Arc::clone(&look.dir), name)),
    }
}

fn write(fs: &dyn Fs, look: &Look, path: &Path, patch: &Patch) -> Result<()> {
    let (dir, name) = place(fs, look, path)?;
    let written = dir.open(&name, OpenMode::ReadWrite).and_then(|file| {
        write_all_at(&*file, &patch.bytes, patch.offset, 1)?;
        file.sync_data()
    });
    let failed = |e| Error::io(format!("cannot write to {}", path.display()), e);
    written.map_err(failed)?;
    tracing::info!(path = %path.display(), offset = patch.offset, remedy = %patch.remedy, "mended");
    Ok(())
}
