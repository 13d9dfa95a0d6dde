//! Where the objects are: a server, and the way to it.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::try_join_all;
use os14::ObjectStoreExt;
use os14::aws::{AmazonS3, AmazonS3Builder};
use os14::path::Path;

use crate::Failure;
use crate::args::Args;
use crate::servers::{DelayProxy, KEY, REGION, Server};

const BUCKET: &str = "cold-warm";
const OBJECTS: u64 = 2;
/// As many as a read through the cache may use at once, so that no read is the one that opens them.
const CONNECTIONS: usize = 8;

/// What is read is held against this.
pub(crate) struct Object {
    pub(crate) path: Path,
    pub(crate) body: Bytes,
}

impl Object {
    pub(crate) fn len(&self) -> u64 {
        u64::try_from(self.body.len()).unwrap_or(u64::MAX)
    }
}

pub(crate) struct Site {
    pub(crate) server: Server,
    pub(crate) proxy: DelayProxy,
    /// Through the proxy.
    pub(crate) far: Arc<AmazonS3>,
    pub(crate) objects: Vec<Object>,
}

impl Site {
    pub(crate) async fn build(server: Server, args: &Args) -> Result<Self, Failure> {
        server.create_bucket(BUCKET)?;
        let near = client(&server.address().to_string())?;
        let mut objects = Vec::new();
        for n in 0..OBJECTS {
            let body = Bytes::from(noise(n, args.object_bytes));
            let path = Path::from(format!("objects/{n}"));
            near.put(&path, body.clone().into()).await?;
            objects.push(Object { path, body });
        }
        let proxy = DelayProxy::start(server.address(), args.delay)?;
        let far = Arc::new(client(&proxy.address().to_string())?);
        let path = &objects[0].path;
        try_join_all((0..CONNECTIONS).map(|_| far.get_range(path, 0..1))).await?;
        Ok(Self {
            server,
            proxy,
            far,
            objects,
        })
    }
}

fn client(address: &str) -> Result<AmazonS3, Failure> {
    let client = AmazonS3Builder::new()
        .with_endpoint(format!("http://{address}"))
        .with_bucket_name(BUCKET)
        .with_region(REGION)
        .with_access_key_id(KEY)
        .with_secret_access_key(KEY)
        .with_allow_http(true)
        .build()?;
    Ok(client)
}

/// Bytes that are nowhere the same.
fn noise(seed: u64, bytes: u64) -> Vec<u8> {
    let mut draw = Draw(seed);
    let words = (0..bytes / 8).map(|_| draw.word().to_le_bytes());
    words.flatten().collect()
}

/// A small generator: repeatable variety, not quality.
pub(crate) struct Draw(pub(crate) u64);

impl Draw {
    fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.word() % n.max(1)
    }

    /// Into a list of `len`.
    pub(crate) fn index(&mut self, len: usize) -> usize {
        let len = u64::try_from(len).unwrap_or(u64::MAX);
        usize::try_from(self.below(len)).unwrap_or(0)
    }
}
