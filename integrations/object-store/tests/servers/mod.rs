//! S3 servers for tests, examples and figures: found where `.ci/setup-s3` has put them, started on a free port, killed when
//! dropped; and a proxy that puts a distance between them and us.

mod process;
mod proxy;
mod requests;
mod wire;

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::{NamedTempFile, TempDir};

pub(crate) use proxy::{DelayProxy, Traffic};

use process::Process;

/// Whoever knows both of them may read and write.
pub(crate) const KEY: &str = "test";
pub(crate) const REGION: &str = "us-east-1";

/// Another process may take the port between our looking for it and the server's opening it.
const PORTS: usize = 3;

/// An S3 server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// In Python, in memory: slow, but its conditional requests are right.
    Moto,
    /// In Rust, over files: quick, but a `GET` ignores its conditions.
    S3sFs,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Moto => "moto",
            Self::S3sFs => "s3s-fs",
        }
    }

    /// Its program, if it is installed. `PERENNIAL_S3_DIR` says where; else it is `s3` below the target directory, in
    /// which whoever asks was built.
    fn program(self) -> Option<PathBuf> {
        // Not `moto_server`, which names the place where the environment was made.
        let program = match self {
            Self::Moto => "venv/bin/python",
            Self::S3sFs => "bin/s3s-fs",
        };
        let mut places: Vec<PathBuf> = Vec::new();
        if let Some(place) = std::env::var_os("PERENNIAL_S3_DIR") {
            places.push(place.into());
        } else if let Ok(own) = std::env::current_exe() {
            places.extend(own.ancestors().skip(1).map(|above| above.join("s3")));
        }
        let mut programs = places.into_iter().map(|place| place.join(program));
        programs.find(|path| path.is_file())
    }

    /// The server, or none and a loud line: a test that is skipped must not look like one that has passed.
    ///
    /// # Errors
    /// It is installed, and does not start.
    pub(crate) fn start(self) -> io::Result<Option<Server>> {
        let Some(program) = self.program() else {
            let name = self.name();
            let line =
                format!("!!! {name} is absent (.ci/setup-s3): what needs it was NOT run !!!");
            // Not `eprintln!`, which the test harness keeps to itself.
            writeln!(io::stderr(), "{line}")?;
            return Ok(None);
        };
        let mut failed = io::Error::other("no port was tried");
        for _ in 0..PORTS {
            match Server::start(self, &program) {
                Ok(server) => return Ok(Some(server)),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }
}

/// A server that runs. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    kind: Kind,
    address: SocketAddr,
    // Before what it works on: fields are dropped in this order.
    _process: Process,
    dir: TempDir,
}

impl Server {
    fn start(kind: Kind, program: &Path) -> io::Result<Self> {
        let dir = tempfile::tempdir()?;
        let log = NamedTempFile::new()?;
        let address = free_address()?;
        let (host, port) = (address.ip().to_string(), address.port().to_string());
        let mut command = Command::new(program);
        match kind {
            Kind::Moto => command.args(["-m", "moto.server", "-H", &host, "-p", &port]),
            Kind::S3sFs => command
                .env("RUST_LOG", "error")
                .args(["--host", &host, "--port", &port])
                .args(["--access-key", KEY, "--secret-key", KEY])
                .arg(dir.path()),
        };
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.reopen()?);
        let mut process = Process::start(&mut command)?;
        process.wait_for(log.path(), || wire::status(address, "GET", "/"))?;
        Ok(Self {
            kind,
            address,
            _process: process,
            dir,
        })
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes a bucket, which the clients of `object_store` cannot.
    #[allow(
        clippy::disallowed_methods,
        reason = "the directory is the server's, which looks for it on disk"
    )]
    pub(crate) fn create_bucket(&self, name: &str) -> io::Result<()> {
        match self.kind {
            Kind::S3sFs => std::fs::create_dir(self.dir.path().join(name)),
            Kind::Moto => match wire::status(self.address, "PUT", &format!("/{name}"))? {
                200 => Ok(()),
                status => Err(io::Error::other(format!("bucket {name}: status {status}"))),
            },
        }
    }
}

fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}
