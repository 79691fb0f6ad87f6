//! Stores of objects, by URL: what checkpoints are kept in, and files of tables.
//!
//! Credentials and endpoints come from the process's own environment and options, never from a job.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{ObjectStore, RetryConfig};
use url::Url;

/// The longest that one request to a store may take, retries included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Options of stores, such as `s3.endpoint` and `s3.path-style-access`, by their names in the
/// configuration of a process.
pub type StoreOptions = BTreeMap<String, String>;

/// A bucket of a remote store.
#[derive(Clone)]
pub struct Bucket {
    pub objects: Arc<dyn ObjectStore>,
    /// Uploads in parts, which others can complete.
    pub uploads: Arc<dyn MultipartStore>,
}

/// Whether URLs of this scheme are in a remote store.
pub fn is_remote(scheme: &str) -> bool {
    matches!(scheme, "s3" | "s3a" | "gs" | "az" | "abfs" | "abfss")
}

/// Opens the bucket of a URL, and gives the path in it. Nothing is read.
///
/// # Errors
/// For people: what is wrong with the URL or the options.
pub fn open(url: &Url, options: &StoreOptions) -> Result<(Bucket, Path), String> {
    let retry = RetryConfig { retry_timeout: REQUEST_TIMEOUT, ..RetryConfig::default() };
    let option = |keys: &[&str]| keys.iter().find_map(|key| options.get(*key)).cloned();
    let name = url.host_str().ok_or_else(|| "it names no bucket".to_owned())?.to_owned();
    let path = Path::from_url_path(url.path()).map_err(|error| error.to_string())?;
    let bucket = match url.scheme() {
        "s3" | "s3a" => {
            let mut builder = object_store::aws::AmazonS3Builder::from_env().with_bucket_name(name).with_retry(retry);
            if let Some(endpoint) = option(&["s3.endpoint"]) {
                builder = builder.with_allow_http(endpoint.starts_with("http://")).with_endpoint(endpoint);
            }
            if let Some(region) = option(&["s3.region"]) {
                builder = builder.with_region(region);
            }
            if let Some(key) = option(&["s3.access-key"]) {
                builder = builder.with_access_key_id(key);
            }
            if let Some(secret) = option(&["s3.secret-key"]) {
                builder = builder.with_secret_access_key(secret);
            }
            let path_style = option(&["s3.path-style-access", "s3.path.style.access"]).is_some_and(|on| on == "true");
            builder = builder.with_virtual_hosted_style_request(!path_style);
            bucket(builder.build())?
        }
        "gs" => bucket(
            object_store::gcp::GoogleCloudStorageBuilder::from_env().with_bucket_name(name).with_retry(retry).build(),
        )?,
        "az" | "abfs" | "abfss" => bucket(
            object_store::azure::MicrosoftAzureBuilder::from_env().with_url(url.as_str()).with_retry(retry).build(),
        )?,
        other => return Err(format!("the scheme '{other}' is not one of file, s3, gs and az")),
    };
    Ok((bucket, path))
}

fn bucket<S: ObjectStore + MultipartStore>(built: object_store::Result<S>) -> Result<Bucket, String> {
    let store = Arc::new(built.map_err(|error| with_sources(&error))?);
    Ok(Bucket { objects: store.clone(), uploads: store })
}

/// The text of an error with those of its causes.
pub fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
