//! Where a whole file goes: under its name when it is whole, or into what cannot be replaced.
#![expect(clippy::disallowed_methods, reason = "a file of the caller's")]

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// What a new file may be used for, before the process's umask.
const NEW_MODE: u32 = 0o666;
/// As many links as the kernel follows.
const MOST_LINKS: usize = 40;

pub(crate) enum Destination {
    /// Under another name until it is whole and on stable storage.
    Replaced {
        temporary: NamedTempFile,
        path: PathBuf,
    },
    /// A device or a pipe: its name stands for something that a file would not be.
    WrittenInto { file: File, syncs: bool },
}

impl Destination {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        match fs::metadata(path) {
            Ok(there) => Self::over(path, &there),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Self::under(followed(path)?, Permissions::from_mode(NEW_MODE))
            }
            Err(error) => Err(error),
        }
    }

    fn over(path: &Path, there: &Metadata) -> io::Result<Self> {
        let target = followed(path)?;
        let named = fs::metadata(&target).is_ok_and(|named| is_same(&named, there));
        // A link of /proc may lead to a file that has no name any more.
        if there.is_file() && named {
            let destination = Self::under(target, Permissions::from_mode(0o600))?;
            destination.allow(there.permissions())?;
            return Ok(destination);
        }
        let file = OpenOptions::new()
            .write(true)
            .truncate(there.is_file())
            .open(path)?;
        let syncs = there.is_file() || there.file_type().is_block_device();
        Ok(Self::WrittenInto { file, syncs })
    }

    fn under(path: PathBuf, permissions: Permissions) -> io::Result<Self> {
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        let temporary = tempfile::Builder::new()
            .permissions(permissions)
            .tempfile_in(dir.unwrap_or(Path::new(".")))?;
        Ok(Self::Replaced { temporary, path })
    }

    /// What the file before it was for, whatever the umask says.
    fn allow(&self, permissions: Permissions) -> io::Result<()> {
        match self {
            Self::Replaced { temporary, .. } => temporary.as_file().set_permissions(permissions),
            Self::WrittenInto { .. } => Ok(()),
        }
    }

    pub(crate) fn finish(self) -> io::Result<()> {
        match self {
            Self::Replaced { temporary, path } => {
                temporary.as_file().sync_all()?;
                temporary.persist(path).map_err(|error| error.error)?;
                Ok(())
            }
            // Pipes and terminals refuse a sync.
            Self::WrittenInto { file, syncs } if syncs => file.sync_all(),
            Self::WrittenInto { .. } => Ok(()),
        }
    }
}

impl Write for Destination {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Replaced { temporary, .. } => temporary.write(buf),
            Self::WrittenInto { file, .. } => file.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Replaced { temporary, .. } => temporary.flush(),
            Self::WrittenInto { file, .. } => file.flush(),
        }
    }
}

/// Where links lead, also to what is not there yet.
fn followed(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        match fs::read_link(&path) {
            Ok(target) => path = path.parent().unwrap_or(Path::new("")).join(target),
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::other("too many symbolic links"))
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}
