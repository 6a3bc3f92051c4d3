//! Uploads new files and then the manifest to a bucket, and withdraws a version again.

use std::{collections::BTreeMap, error::Error};

use aws_sdk_s3::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    operation::{get_object::GetObjectError, head_object::HeadObjectError},
    primitives::ByteStream,
};
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::File;

/// The number of concurrent requests.
const CONCURRENCY: usize = 8;

/// The destination of the files.
#[derive(Clone, Debug)]
pub struct Target {
    /// The S3 client.
    pub s3: Client,
    /// The bucket.
    pub bucket: String,
    /// The prefix of the keys, without a trailing slash.
    pub prefix: String,
    /// The header `Cache-Control` of the files.
    pub cache_control: String,
}

/// The result of a publication.
#[derive(Clone, Debug, Serialize)]
pub struct Published {
    /// The key of each file by its name, as in the manifest.
    pub files: BTreeMap<String, String>,
    /// The new keys.
    pub uploaded: Vec<String>,
}

/// An error of the bucket.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// S3 returned an error, or did not respond.
    #[error("cannot {verb} {bucket}/{key}: {reason}")]
    S3 {
        /// The operation.
        verb: &'static str,
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
        /// The reason.
        reason: String,
    },
    /// A manifest is not valid JSON.
    #[error("the manifest is not valid JSON")]
    Manifest(#[from] serde_json::Error),
}

impl Published {
    /// Summarizes the result in one line.
    pub fn summary(&self) -> String {
        format!("uploaded {} of {} files", self.uploaded.len(), self.files.len())
    }
}

/// The result of a withdrawal.
#[derive(Clone, Debug, Serialize)]
pub struct Withdrawn {
    /// The removed keys.
    pub removed: Vec<String>,
}

impl Withdrawn {
    /// Summarizes the result in one line.
    pub fn summary(&self) -> String {
        format!("removed {} files and restored the previous manifest", self.removed.len())
    }
}

/// The key of each file by its name.
type Manifest = BTreeMap<String, String>;

/// A manifest that a version has replaced.
#[derive(Debug, Deserialize, Serialize)]
struct Replaced {
    /// The version that replaced it.
    by: String,
    /// The manifest, if there was one.
    manifest: Option<Manifest>,
    /// The keys that the version added.
    uploaded: Vec<String>,
}

/// The names of the manifest, and of the one it replaced.
const MANIFEST: &str = "manifest.json";
const REPLACED: &str = "manifest.replaced.json";

/// Uploads the new files, and then the manifest, so that the manifest never names a missing key. The previous manifest is
/// kept until the next version.
pub async fn publish(files: Vec<File>, version: &str, target: &Target) -> Result<Published, PublishError> {
    let keys: Manifest =
        files.iter().map(|file| (file.name.clone(), target.key(&file.hashed_name))).collect();
    let before: Option<Manifest> = target.read(MANIFEST).await?;
    let uploads = files.into_iter().map(|file| target.upload_if_missing(file));
    let uploaded: Vec<_> = stream::iter(uploads).buffered(CONCURRENCY).try_collect().await?;
    let published = Published { files: keys, uploaded: uploaded.into_iter().flatten().collect() };
    // A retry finds its own manifest, which is not the previous one.
    if before.as_ref() != Some(&published.files) {
        let (by, uploaded) = (version.to_owned(), published.uploaded.clone());
        target.write(REPLACED, &Replaced { by, manifest: before, uploaded }).await?;
        target.write(MANIFEST, &published.files).await?;
    }
    Ok(published)
}

/// Restores the manifest that a version has replaced, and removes the files that it has uploaded. Does nothing if the
/// version has replaced no manifest.
pub async fn withdraw(version: &str, target: &Target) -> Result<Withdrawn, PublishError> {
    let replaced: Option<Replaced> = target.read(REPLACED).await?;
    let Some(Replaced { manifest, uploaded, .. }) = replaced.filter(|replaced| replaced.by == version) else {
        return Ok(Withdrawn { removed: Vec::new() });
    };
    match manifest {
        Some(manifest) => target.write(MANIFEST, &manifest).await?,
        None => target.remove(&target.key(MANIFEST)).await?,
    }
    for key in &uploaded {
        target.remove(key).await?;
    }
    // Last, so that a retry finds the remaining work.
    target.remove(&target.key(REPLACED)).await?;
    Ok(Withdrawn { removed: uploaded })
}

impl Target {
    fn key(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_owned() } else { format!("{}/{name}", self.prefix) }
    }

    /// Uploads a file unless its key exists already. Returns the key if it is new.
    async fn upload_if_missing(&self, file: File) -> Result<Option<String>, PublishError> {
        let key = self.key(&file.hashed_name);
        let head = self.s3.head_object().bucket(&self.bucket).key(&key).send().await;
        match head {
            Ok(_) => return Ok(None),
            Err(error) if error.as_service_error().is_some_and(HeadObjectError::is_not_found) => {}
            Err(error) => return Err(self.failed("check", &key, &error)),
        }
        let put = self.s3.put_object().bucket(&self.bucket).key(&key);
        put.content_type(file.content_type)
            .cache_control(&self.cache_control)
            .set_content_encoding(file.encoding.map(str::to_owned))
            .body(ByteStream::from(file.body))
            .send()
            .await
            .map_err(|error| self.failed("write", &key, &error))?;
        tracing::info!("uploaded {key}");
        Ok(Some(key))
    }

    /// Reads one of the manifests. Returns `None` if it does not exist.
    async fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, PublishError> {
        let key = self.key(name);
        let object = match self.s3.get_object().bucket(&self.bucket).key(&key).send().await {
            Ok(object) => object,
            Err(error) if error.as_service_error().is_some_and(GetObjectError::is_no_such_key) => {
                return Ok(None);
            }
            Err(error) => return Err(self.failed("read", &key, &error)),
        };
        let body = object.body.collect().await.map_err(|error| PublishError::S3 {
            verb: "read",
            bucket: self.bucket.clone(),
            key,
            reason: error.to_string(),
        })?;
        Ok(Some(serde_json::from_slice(&body.into_bytes())?))
    }

    async fn write<T: Serialize>(&self, name: &str, content: &T) -> Result<(), PublishError> {
        let key = self.key(name);
        let put = self.s3.put_object().bucket(&self.bucket).key(&key);
        put.content_type("application/json")
            .cache_control("no-cache")
            .body(serde_json::to_vec_pretty(content)?.into())
            .send()
            .await
            .map(drop)
            .map_err(|error| self.failed("write", &key, &error))
    }

    /// Removes an object. A missing object is no error.
    async fn remove(&self, key: &str) -> Result<(), PublishError> {
        let removed = self.s3.delete_object().bucket(&self.bucket).key(key).send().await;
        removed.map(drop).map_err(|error| self.failed("remove", key, &error))
    }

    fn failed<E>(&self, verb: &'static str, key: &str, error: &SdkError<E>) -> PublishError
    where
        E: Error + ProvideErrorMetadata + 'static,
    {
        PublishError::S3 { verb, bucket: self.bucket.clone(), key: key.to_owned(), reason: reason(error) }
    }
}

/// Describes an error: S3's own code and message, or the failure of the request.
fn reason<E: Error + ProvideErrorMetadata + 'static>(error: &SdkError<E>) -> String {
    let status = error.raw_response().map(|response| response.status().as_u16());
    match (error.code(), status) {
        (Some(code), _) => format!("{code}: {}", error.message().unwrap_or("no message")),
        // A response to HEAD has no body. Without s3:ListBucket a missing key is a 403, too.
        (None, Some(403)) => "status 403: the function needs s3:ListBucket and s3:GetObject".to_owned(),
        (None, Some(status)) => format!("status {status}"),
        (None, None) => {
            let mut cause: &dyn Error = error;
            while let Some(inner) = cause.source() {
                cause = inner;
            }
            cause.to_string()
        }
    }
}
