//! A small server of one image, so that the example runs by itself: ranges, `ETag`, `If-Match`, connections that are kept.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

const PATH: &str = "/disk.img";
/// How far away it seems to be.
const LATENCY: Duration = Duration::from_millis(5);

/// Ends the first sector of a disk that one can boot from, or that has a partition table.
pub(crate) const BOOT_SIGNATURE: [u8; 2] = [0x55, 0xAA];

/// 16 MiB that look like a disk's at the first glance.
pub(crate) fn image() -> Vec<u8> {
    let mut word = 0x2545_F491_4F6C_DD1D_u64;
    let mut image = Vec::with_capacity(16 << 20);
    while image.len() < 16 << 20 {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        image.extend_from_slice(&word.to_le_bytes());
    }
    image[510..512].copy_from_slice(&BOOT_SIGNATURE);
    image
}

struct Server {
    image: Vec<u8>,
    etag: String,
}

/// What matters of a request.
struct Request {
    method: String,
    path: String,
    range: Option<Range<usize>>,
    if_match: Option<String>,
}

/// Serves the image until the program ends. Its address.
pub(crate) fn serve(image: Vec<u8>) -> io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}{PATH}", listener.local_addr()?);
    let etag = format!("\"{:08x}\"", crc32fast::hash(&image));
    let server = Arc::new(Server { image, etag });
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let server = Arc::clone(&server);
            // A client that goes away is no error of the server.
            thread::spawn(move || drop(server.talk(connection)));
        }
    });
    Ok(url)
}

impl Server {
    fn talk(&self, connection: TcpStream) -> io::Result<()> {
        connection.set_nodelay(true)?;
        let mut connection = BufReader::new(connection);
        while let Some(request) = Request::read(&mut connection)? {
            thread::sleep(LATENCY);
            let (head, body) = self.answer(&request);
            connection.get_mut().write_all(head.as_bytes())?;
            connection.get_mut().write_all(body)?;
        }
        Ok(())
    }

    fn answer(&self, request: &Request) -> (String, &[u8]) {
        let bytes = self.image.len();
        let (status, range, body): (_, _, &[u8]) = match &request.range {
            _ if request.path != PATH => ("404 Not Found", String::new(), &[]),
            _ if request
                .if_match
                .as_ref()
                .is_some_and(|tag| *tag != self.etag) =>
            {
                ("412 Precondition Failed", String::new(), &[])
            }
            None => ("200 OK", String::new(), &self.image),
            Some(range) if range.start >= range.end.min(bytes) => {
                let range = format!("Content-Range: bytes */{bytes}\r\n");
                ("416 Range Not Satisfiable", range, &[])
            }
            Some(range) => {
                let (start, end) = (range.start, range.end.min(bytes));
                let range = format!("Content-Range: bytes {start}-{}/{bytes}\r\n", end - 1);
                ("206 Partial Content", range, &self.image[start..end])
            }
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nETag: {}\r\n{range}\r\n",
            body.len(),
            self.etag
        );
        // A HEAD is told of a body that does not come.
        let body: &[u8] = if request.method == "HEAD" { &[] } else { body };
        (head, body)
    }
}

impl Request {
    /// `None`: there are no more.
    fn read(connection: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut line = String::new();
        if connection.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_whitespace().map(str::to_owned);
        let mut request = Self {
            method: words.next().unwrap_or_default(),
            path: words.next().unwrap_or_default(),
            range: None,
            if_match: None,
        };
        loop {
            let mut line = String::new();
            connection.read_line(&mut line)?;
            // An empty line ends them.
            let Some((name, value)) = line.trim_end().split_once(':') else {
                return Ok(Some(request));
            };
            match &*name.to_ascii_lowercase() {
                "range" => request.range = range(value.trim()),
                "if-match" => request.if_match = Some(value.trim().to_owned()),
                _ => {}
            }
        }
    }
}

/// `bytes=first-last`; other forms are not for this server, which may ignore them.
fn range(value: &str) -> Option<Range<usize>> {
    let (first, last) = value.strip_prefix("bytes=")?.split_once('-')?;
    let last: usize = last.parse().ok()?;
    Some(first.parse().ok()?..last.checked_add(1)?)
}
