//! A TCP proxy that puts a server as far away as one likes, and counts what passes.
//!
//! What it adds: what the client sends leaves for the server `delay` after it came; what the server sends goes straight through.
//! So the first byte of every answer comes `delay` later than it would, over a connection that is kept as over a new one,
//! however large the request is; and as each connection is a queue of its own, requests side by side are late side by side, not one
//! after the other. A new connection waits `delay` once more before anything passes, as a handshake over such a line takes.
//! Nothing is made slower that flows: there is no limit to the bandwidth but the machine's. tokio's clock ticks in
//! milliseconds, so it may be one more.
//!
//! What the server sends is acknowledged at once. A server that leaves Nagle's algorithm on, as s3s-fs does, keeps the end of an
//! answer back until the part before is acknowledged; Linux may take 40 ms for that, or not, and figures would tell of nothing else.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::requests::Requests;

/// Of one read.
const CHUNK: usize = 256 << 10;
/// Reads of one connection that are under way to the server: what is in flight on a long line.
const IN_FLIGHT: usize = 256;

/// What has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Traffic {
    /// Of HTTP, whole heads.
    pub(crate) requests: u64,
    /// From the server to its clients, heads included.
    pub(crate) bytes: u64,
}

impl Traffic {
    /// What has passed since `before` was taken.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            requests: self.requests - before.requests,
            bytes: self.bytes - before.bytes,
        }
    }
}

#[derive(Debug, Default)]
struct Counters {
    requests: AtomicU64,
    bytes: AtomicU64,
}

/// A proxy that runs, on a thread of its own. It ends, and with it all its connections, when this is dropped.
#[derive(Debug)]
pub(crate) struct DelayProxy {
    address: SocketAddr,
    counters: Arc<Counters>,
    runtime: Option<Runtime>,
}

impl DelayProxy {
    /// Before `server`.
    pub(crate) fn start(server: SocketAddr, delay: Duration) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let counters = Arc::<Counters>::default();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("delay-proxy")
            .enable_all()
            .build()?;
        runtime.spawn(accept(listener, server, delay, Arc::clone(&counters)));
        Ok(Self {
            address,
            counters,
            runtime: Some(runtime),
        })
    }

    /// Where clients are to go instead.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What has passed until now.
    pub(crate) fn traffic(&self) -> Traffic {
        Traffic {
            requests: self.counters.requests.load(Ordering::Relaxed),
            bytes: self.counters.bytes.load(Ordering::Relaxed),
        }
    }
}

impl Drop for DelayProxy {
    fn drop(&mut self) {
        // A runtime that is dropped waits, which it must not inside another one.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn accept(
    listener: std::net::TcpListener,
    server: SocketAddr,
    delay: Duration,
    counters: Arc<Counters>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (client, _) = listener.accept().await?;
        tokio::spawn(connection(client, server, delay, Arc::clone(&counters)));
    }
}

async fn connection(
    client: TcpStream,
    server: SocketAddr,
    delay: Duration,
    counters: Arc<Counters>,
) -> io::Result<()> {
    tokio::time::sleep(delay).await;
    let server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // Each ends when its sender does, and passes that on.
    let (there, back) = tokio::join!(
        late(from_client, to_server, delay, &counters),
        at_once(from_server, to_client, &counters),
    );
    there.and(back)
}

/// Client to server.
async fn late(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    delay: Duration,
    counters: &Counters,
) -> io::Result<()> {
    let (sent, mut due) = mpsc::channel::<(Instant, Vec<u8>)>(IN_FLIGHT);
    let take = async move {
        let mut requests = Requests::default();
        let mut buf = vec![0; CHUNK];
        loop {
            let n = from.read(&mut buf).await?;
            let came = Instant::now();
            let heads = requests.pass(&buf[..n]);
            counters.requests.fetch_add(heads, Ordering::Relaxed);
            if n == 0 || sent.send((came + delay, buf[..n].to_vec())).await.is_err() {
                return io::Result::Ok(());
            }
        }
    };
    let give = async move {
        while let Some((at, bytes)) = due.recv().await {
            tokio::time::sleep_until(at).await;
            to.write_all(&bytes).await?;
        }
        to.shutdown().await
    };
    let (take, give) = tokio::join!(take, give);
    take.and(give)
}

/// Server to client.
async fn at_once(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    counters: &Counters,
) -> io::Result<()> {
    let mut buf = vec![0; CHUNK];
    loop {
        let n = from.read(&mut buf).await?;
        if n == 0 {
            return to.shutdown().await;
        }
        // Each time: the system falls back by itself.
        from.as_ref().set_quickack(true)?;
        // Before it is passed on: whoever has it finds it counted.
        let bytes = u64::try_from(n).unwrap_or(u64::MAX);
        counters.bytes.fetch_add(bytes, Ordering::Relaxed);
        to.write_all(&buf[..n]).await?;
    }
}
