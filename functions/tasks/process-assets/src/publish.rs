//! Puts files into a bucket: those that are not there yet, and then the manifest.

use std::{collections::BTreeMap, error::Error};

use aws_sdk_s3::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    operation::head_object::HeadObjectError,
    primitives::ByteStream,
};
use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;

use crate::File;

/// How many requests are under way at a time.
const CONCURRENCY: usize = 8;

/// Where files are put, and how they may be kept by those who fetch them.
#[derive(Clone, Debug)]
pub struct Target {
    /// The client.
    pub s3: Client,
    /// The bucket.
    pub bucket: String,
    /// What the keys begin with, without a slash at its end.
    pub prefix: String,
    /// The header `Cache-Control` of the files.
    pub cache_control: String,
}

/// What was published.
#[derive(Clone, Debug, Serialize)]
pub struct Published {
    /// The key of each file by its name, as in the manifest.
    pub files: BTreeMap<String, String>,
    /// The keys that were not there before.
    pub uploaded: Vec<String>,
}

/// Why a file could not be put into the bucket.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// S3 refused, or did not answer.
    #[error("cannot {verb} {bucket}/{key}: {reason}")]
    S3 {
        /// What was tried.
        verb: &'static str,
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
        /// What S3 said.
        reason: String,
    },
    /// The manifest has no JSON.
    #[error("cannot write the manifest")]
    Manifest(#[from] serde_json::Error),
}

impl Published {
    /// What was done, in one line.
    pub fn summary(&self) -> String {
        format!("uploaded {} of {} files", self.uploaded.len(), self.files.len())
    }
}

/// Uploads the files whose keys the bucket does not have, and the manifest once they are all there: who reads it
/// never finds a key that is not.
pub async fn publish(files: Vec<File>, target: &Target) -> Result<Published, PublishError> {
    let keys = files.iter().map(|file| (file.name.clone(), target.key(&file.hashed_name))).collect();
    let uploads = files.into_iter().map(|file| target.upload_if_missing(file));
    let uploaded: Vec<_> = stream::iter(uploads).buffered(CONCURRENCY).try_collect().await?;
    let published = Published { files: keys, uploaded: uploaded.into_iter().flatten().collect() };
    target.write_manifest(&published.files).await?;
    Ok(published)
}

impl Target {
    fn key(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_owned() } else { format!("{}/{name}", self.prefix) }
    }

    /// The key, if it was not there.
    async fn upload_if_missing(&self, file: File) -> Result<Option<String>, PublishError> {
        let key = self.key(&file.hashed_name);
        let head = self.s3.head_object().bucket(&self.bucket).key(&key).send().await;
        match head {
            Ok(_) => return Ok(None),
            Err(error) if error.as_service_error().is_some_and(HeadObjectError::is_not_found) => {}
            Err(error) => return Err(self.failed("look for", &key, &error)),
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

    async fn write_manifest(&self, keys: &BTreeMap<String, String>) -> Result<(), PublishError> {
        let key = self.key("manifest.json");
        let put = self.s3.put_object().bucket(&self.bucket).key(&key);
        put.content_type("application/json")
            .cache_control("no-cache")
            .body(serde_json::to_vec_pretty(keys)?.into())
            .send()
            .await
            .map(drop)
            .map_err(|error| self.failed("write", &key, &error))
    }

    fn failed<E>(&self, verb: &'static str, key: &str, error: &SdkError<E>) -> PublishError
    where
        E: Error + ProvideErrorMetadata + 'static,
    {
        PublishError::S3 { verb, bucket: self.bucket.clone(), key: key.to_owned(), reason: reason(error) }
    }
}

/// What S3 said, or if it said nothing, what was in its way.
fn reason<E: Error + ProvideErrorMetadata + 'static>(error: &SdkError<E>) -> String {
    let status = error.raw_response().map(|response| response.status().as_u16());
    match (error.code(), status) {
        (Some(code), _) => format!("{code}: {}", error.message().unwrap_or("no further words")),
        // The answer to a HEAD has no body. It is 403 also for a missing key, unless one may list the bucket.
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
