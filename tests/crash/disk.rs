//! Disks of 64 MiB that are mounted for a test, and a file that fills them.
//!
//! They are mounted in a namespace of the test's own: however its process ends, they are gone with it, and the kernel detaches
//! the loop device.

use std::io::{ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use perennial_failpoints::StdFs;
use perennial_failpoints::fs::{Fs, OpenMode};

use crate::directory::text;

const BYTES: u64 = 64 << 20;
/// What both file systems give room by.
const BLOCK: u64 = 4096;
const FILLER: &str = "filler";

/// What a disk is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// In a file, through a loop device.
    Ext4,
    /// In memory.
    Tmpfs,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Tmpfs => "tmpfs",
        }
    }
}

/// The program `args` name, where what it mounts is seen by it and its children alone.
pub(crate) fn with_own_mounts() -> Command {
    let mut command = Command::new("unshare");
    command.arg("--mount");
    command
}

/// Runs a program to its end; what it complained of is the error.
pub(crate) fn run(command: &mut Command) -> std::result::Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let done = command.stdin(Stdio::null()).output();
    let done = done.map_err(|error| format!("{program}: {error}"))?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    Err(format!("{program}: {}", said.trim()))
}

/// A mounted disk. It is unmounted when this is dropped.
#[derive(Debug)]
pub(crate) struct Disk {
    root: PathBuf,
}

impl Disk {
    /// Mounts a new one below `dir`, which is made.
    pub(crate) fn mount(kind: Kind, dir: &Path) -> std::result::Result<Self, String> {
        let (root, image) = (dir.join("root"), dir.join("image"));
        std::fs::create_dir_all(&root).unwrap();
        let mut mount = Command::new("mount");
        match kind {
            Kind::Ext4 => {
                std::fs::File::create(&image)
                    .and_then(|file| file.set_len(BYTES))
                    .unwrap();
                // Without blocks that only root may take: the cache is root's here.
                let mut mkfs = Command::new("mkfs.ext4");
                run(mkfs.args(["-q", "-F", "-m", "0"]).arg(&image))?;
                mount.args(["-o", "loop"]).arg(&image);
            }
            Kind::Tmpfs => {
                mount.args(["-t", "tmpfs", "-o", &format!("size={BYTES}"), "none"]);
            }
        }
        run(mount.arg(&root))?;
        Ok(Self { root })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Where somebody still holds a file: now for everybody else, and for them when they are gone.
        if let Err(why) = run(Command::new("umount").args(["--lazy", &text(&self.root)])) {
            eprintln!("{why}; it goes with this process");
        }
    }
}

/// Takes all room of the disk but `leave` bytes.
pub(crate) fn fill(root: &Path, leave: u64) -> Result<()> {
    let file = StdFs.open_dir(root)?.open(FILLER, OpenMode::CreateNew)?;
    let (mut len, mut piece) = (0, BYTES);
    while piece >= BLOCK {
        let room = StdFs.free_bytes(root)?.saturating_sub(leave);
        let take = piece.min(room) / BLOCK * BLOCK;
        if take == 0 {
            break;
        }
        match file.allocate(len + take) {
            Ok(()) => len += take,
            // The disk needs some of it to say where the rest is.
            Err(error) if error.kind() == ErrorKind::StorageFull => {
                len = file.len()? / BLOCK * BLOCK;
                piece /= 2;
            }
            Err(error) => return Err(error),
        }
    }
    file.sync_data()
}

/// Gives the room back. Blocks of a removed file are another's when the disk has noted the removal.
pub(crate) fn make_room(root: &Path) -> Result<()> {
    let dir = StdFs.open_dir(root)?;
    dir.remove(FILLER)?;
    dir.sync()
}
