//! The proxy adds what it says it adds.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::servers::DelayProxy;

const DELAY: Duration = Duration::from_millis(60);
/// The whole of a request, as far as the proxy knows.
const ASK: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

/// Answers everything with itself.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.into_split();
                tokio::io::copy(&mut from, &mut to).await
            });
        }
    });
    address
}

async fn ask(stream: &mut TcpStream, bytes: usize) -> io::Result<()> {
    stream.write_all(&ASK[..bytes]).await?;
    stream.read_exact(&mut vec![0; bytes]).await?;
    Ok(())
}

#[test]
fn each_request_is_late_by_the_delay_and_the_first_by_two() {
    crate::runtime().block_on(async {
        let proxy = DelayProxy::start(echo().await, DELAY).unwrap();
        // The proxy may accept, and begin to wait, before we are told that we are connected.
        let start = Instant::now();
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        ask(&mut stream, ASK.len()).await.unwrap();
        assert!(start.elapsed() >= 2 * DELAY, "{:?}", start.elapsed());
        for _ in 0..5 {
            let start = Instant::now();
            ask(&mut stream, ASK.len()).await.unwrap();
            assert!(start.elapsed() >= DELAY, "{:?}", start.elapsed());
        }
        let traffic = proxy.traffic();
        assert_eq!((traffic.requests, traffic.bytes), (6, 6 * 18));
    });
}

#[test]
fn requests_side_by_side_are_late_together() {
    crate::runtime().block_on(async {
        let proxy = DelayProxy::start(echo().await, DELAY).unwrap();
        let mut all_took = Vec::new();
        // A busy machine may hold one of them up, not each time.
        for round in 1..=20 {
            let start = Instant::now();
            let all = (0..10).map(|_| async {
                let mut stream = TcpStream::connect(proxy.address()).await?;
                ask(&mut stream, ASK.len()).await
            });
            for asked in join_all(all).await {
                asked.unwrap();
            }
            assert_eq!(proxy.traffic().requests, 10 * round);
            // One after the other it is twenty.
            if start.elapsed() < 10 * DELAY {
                return;
            }
            all_took.push(start.elapsed());
        }
        panic!("ten at once take {all_took:?}");
    });
}

#[test]
fn half_a_request_is_not_counted_and_the_end_passes_through() {
    crate::runtime().block_on(async {
        let proxy = DelayProxy::start(echo().await, Duration::ZERO).unwrap();
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        ask(&mut stream, 10).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty(), "{rest:?}");
        assert_eq!(proxy.traffic().requests, 0);
    });
}
