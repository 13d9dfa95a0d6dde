//! Where the files are. Processes tell each other by the environment.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use perennial::{Cache, Options};
use perennial_object_store::HeadPolicy;
use perennial_object_store::v0_13::CachedObjectStore;

use crate::Failure;

const ENDPOINT: &str = "PERENNIAL_S3_ENDPOINT";
const BUCKET: &str = "PERENNIAL_S3_BUCKET";
const REGION: &str = "AWS_REGION";
const KEY: &str = "AWS_ACCESS_KEY_ID";
const SECRET: &str = "AWS_SECRET_ACCESS_KEY";

/// Until an address answers.
const PATIENCE: Duration = Duration::from_secs(5);

/// A bucket, and who we are.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// `http://host:port`
    pub(crate) endpoint: String,
    pub(crate) bucket: String,
    pub(crate) region: String,
    pub(crate) key: String,
    pub(crate) secret: String,
}

impl Place {
    /// What the environment says, if it names an endpoint.
    pub(crate) fn from_environment() -> Result<Option<Self>, Failure> {
        let Ok(endpoint) = std::env::var(ENDPOINT) else {
            return Ok(None);
        };
        let variable = |name| std::env::var(name).map_err(|error| format!("{name}: {error}"));
        Ok(Some(Self {
            endpoint,
            bucket: variable(BUCKET)?,
            region: variable(REGION).unwrap_or_else(|_| "us-east-1".into()),
            key: variable(KEY)?,
            secret: variable(SECRET)?,
        }))
    }

    /// The same for a child.
    pub(crate) fn environment(&self) -> [(&'static str, &str); 5] {
        [
            (ENDPOINT, &self.endpoint),
            (BUCKET, &self.bucket),
            (REGION, &self.region),
            (KEY, &self.key),
            (SECRET, &self.secret),
        ]
    }

    /// Of the server itself, for a proxy before it.
    pub(crate) fn address(&self) -> Result<SocketAddr, Failure> {
        let host = self.endpoint.strip_prefix("http://");
        let host = host.ok_or("the proxy cannot look into https: an endpoint of http is needed")?;
        let mut last = None;
        // `localhost` has two, and a server may listen on either.
        for address in host.trim_end_matches('/').to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, PATIENCE) {
                Ok(_) => return Ok(address),
                Err(error) => last = Some(error),
            }
        }
        Err(last.map_or_else(|| "the endpoint has no address".into(), Failure::from))
    }

    pub(crate) fn client(&self) -> Result<AmazonS3, Failure> {
        let client = AmazonS3Builder::new()
            .with_endpoint(&self.endpoint)
            .with_bucket_name(&self.bucket)
            .with_region(&self.region)
            .with_access_key_id(&self.key)
            .with_secret_access_key(&self.secret)
            .with_allow_http(true)
            .build()?;
        Ok(client)
    }

    /// The bucket through a cache in the directory `cache`. The bucket names it, not the endpoint, which is a proxy's and
    /// another one each time; a program whose endpoint stays would take that, too.
    pub(crate) fn cached(&self, cache: &Path) -> Result<Arc<dyn ObjectStore>, Failure> {
        let cache = Cache::open(cache, Options::new().capacity_bytes(1 << 30))?;
        let store = CachedObjectStore::builder(self.client()?, cache)
            .identity(format!("s3://{}", self.bucket))
            .head_policy(HeadPolicy::Immutable)
            .build()?;
        Ok(Arc::new(store))
    }
}
