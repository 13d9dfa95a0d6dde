//! The least of HTTP that it takes to see whether a server is there, and to make a bucket.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::{KEY, REGION};

const PATIENCE: Duration = Duration::from_secs(10);

/// Asks once, without a body, and returns the status of the answer.
pub(super) fn status(server: SocketAddr, method: &str, path: &str) -> io::Result<u16> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // The signature is none. moto checks none, but looks here for which of Amazon's services is meant.
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\n\
         Host: {server}\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential={KEY}/20260101/{REGION}/s3/aws4_request, SignedHeaders=host, Signature=0\r\n\
         Content-Length: 0\r\n\
         Connection: close\r\n\r\n"
    )?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|word| word.parse().ok());
    status.ok_or_else(|| io::Error::other(format!("no answer of HTTP: {line:?}")))
}
