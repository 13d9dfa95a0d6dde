//! As much of an HTTP/1.1 client as it takes: connections that are kept, and answers of a known length.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

/// To connect, and for each single read and write.
const PATIENCE: Duration = Duration::from_secs(10);
/// Status and headers of an answer have no more bytes.
const HEAD_BYTES_MAX: u64 = 16 << 10;

/// Why there is no good answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("{0:?} is not the http:// address of a file")]
    Url(String),
    #[error("the server did not answer within {} s", PATIENCE.as_secs())]
    Timeout,
    #[error("the connection failed: {0}")]
    Io(#[source] io::Error),
    #[error("the server answered with status {0}")]
    Status(u16),
    #[error("the server gave the whole file where a range of it was asked for")]
    NoRanges,
    #[error("the server gives no strong ETag: nobody can tell when the file changes")]
    NoVersion,
    #[error("the server's answer cannot be understood: {0}")]
    Malformed(&'static str),
}

impl From<io::Error> for HttpError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Timeout,
            _ => Self::Io(error),
        }
    }
}

/// `http://authority/path`: the server is the origin, the path its object.
pub(crate) struct Url {
    /// Host and port.
    pub(crate) authority: String,
    pub(crate) path: String,
}

impl Url {
    pub(crate) fn parse(url: &str) -> Result<Self, HttpError> {
        let malformed = || HttpError::Url(url.to_owned());
        let rest = url.strip_prefix("http://").ok_or_else(malformed)?;
        let (host, path) = rest.split_once('/').ok_or_else(malformed)?;
        // It goes into the request as it is.
        if host.is_empty() || host.contains('@') || !url.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(malformed());
        }
        let has_port = host
            .rsplit_once(':')
            .is_some_and(|(_, port)| !port.ends_with(']'));
        Ok(Self {
            authority: if has_port {
                host.to_owned()
            } else {
                format!("{host}:80")
            },
            path: format!("/{path}"),
        })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.path)
    }
}

type Connection = BufReader<TcpStream>;

/// Connections to one server; those that are idle are used again.
pub(crate) struct Client {
    pub(crate) authority: String,
    idle: Mutex<Vec<Connection>>,
    pub(crate) requests: AtomicU64,
    /// Of bodies.
    pub(crate) bytes: AtomicU64,
}

impl Client {
    pub(crate) fn new(authority: &str) -> Self {
        Self {
            authority: authority.to_owned(),
            idle: Mutex::default(),
            requests: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// Sends a request; `headers` are lines that end with `\r\n`. An answer whose body is not [read](Self::read_body) takes its
    /// connection with it.
    pub(crate) fn ask(&self, method: &str, path: &str, headers: &str) -> Result<Answer, HttpError> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAccept-Encoding: identity\r\n{headers}\r\n",
            self.authority
        );
        let idle = self.idle.lock().pop();
        if let Some(connection) = idle {
            match self.exchange(connection, &request) {
                // The server has closed it meanwhile, as it may; nothing here does harm when it is asked twice.
                Err(HttpError::Io(_)) => {}
                answered => return answered,
            }
        }
        self.exchange(self.connect()?, &request)
    }

    fn connect(&self) -> Result<Connection, HttpError> {
        let mut failed = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in self.authority.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, PATIENCE) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    stream.set_read_timeout(Some(PATIENCE))?;
                    stream.set_write_timeout(Some(PATIENCE))?;
                    return Ok(BufReader::new(stream));
                }
                Err(error) => failed = error,
            }
        }
        Err(failed.into())
    }

    fn exchange(&self, mut connection: Connection, request: &str) -> Result<Answer, HttpError> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        connection.get_mut().write_all(request.as_bytes())?;
        let mut lines = read_head(&mut connection)?.into_iter();
        let status_line = lines.next().unwrap_or_default();
        let (version, rest) = status_line.split_once(' ').unwrap_or_default();
        let status = rest.get(..3).and_then(|digits| digits.parse().ok());
        let status = status.filter(|_| version.starts_with("HTTP/1."));
        let mut answer = Answer {
            status: status.ok_or(HttpError::Malformed("it does not begin with a status"))?,
            headers: lines.collect(),
            is_last: version != "HTTP/1.1",
            connection,
        };
        let closes = answer.header("connection").map(str::to_ascii_lowercase);
        answer.is_last |= closes.is_some_and(|how| how.contains("close"));
        Ok(answer)
    }

    /// Fills `buf` with the answer's body, which must be as long, and keeps the connection for the next request.
    pub(crate) fn read_body(&self, answer: Answer, buf: &mut [u8]) -> Result<(), HttpError> {
        let mut connection = answer.connection;
        connection.read_exact(buf)?;
        self.bytes.fetch_add(buf.len() as u64, Ordering::Relaxed);
        // More than it said: what comes next on it would not be an answer.
        if !answer.is_last && connection.buffer().is_empty() {
            self.idle.lock().push(connection);
        }
        Ok(())
    }
}

/// Lines up to the empty one.
fn read_head(connection: &mut Connection) -> Result<Vec<String>, HttpError> {
    let mut head = connection.by_ref().take(HEAD_BYTES_MAX);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if head.read_line(&mut line)? == 0 && head.limit() > 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        match line.strip_suffix("\r\n") {
            Some("") => return Ok(lines),
            Some(line) => lines.push(line.to_owned()),
            None => return Err(HttpError::Malformed("its headers have no end")),
        }
    }
}

/// Status and headers; the body has not been read.
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<String>,
    /// The connection is of no use afterwards.
    is_last: bool,
    connection: Connection,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// Bytes of the body.
    pub(crate) fn len(&self) -> Result<u64, HttpError> {
        let len = self
            .header("content-length")
            .and_then(|len| len.parse().ok());
        len.ok_or(HttpError::Malformed("it does not say how long it is"))
    }
}
