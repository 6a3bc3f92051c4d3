//! The bucket: the S3 API over a folder (`s3s-fs`), served on loopback.

use std::path::{Path, PathBuf};

use axum::{Router, body::Body, extract::Request, http::StatusCode, response::IntoResponse};
use s3s::{
    auth::SimpleAuth,
    service::{S3Service, S3ServiceBuilder},
};

use crate::loopback::{Loopback, ServeError};

/// Why the bucket could not be served.
#[derive(Debug, thiserror::Error)]
pub enum BucketError {
    /// The bucket's folder could not be made.
    #[error("cannot make the bucket's folder {}", path.display())]
    Folder {
        /// The folder of the bucket.
        path: PathBuf,
        /// What the file system said.
        source: std::io::Error,
    },
    /// The file system behind the S3 API refused the folder.
    #[error("cannot use {} for buckets: {reason}", path.display())]
    Store {
        /// The folder of all buckets.
        path: PathBuf,
        /// Its own words.
        reason: String,
    },
    /// The endpoint could not be opened.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

/// A bucket that is served until this is dropped. Its objects stay in the folder.
#[derive(Debug)]
pub struct Bucket {
    server: Loopback,
}

impl Bucket {
    /// Serves the S3 API over `dir`, in which the bucket `name` is the folder of that name, made if it is missing.
    /// Requests are signed with the access key `test` and the secret `test`, and address the bucket in the path.
    ///
    /// `If-None-Match: *` is not atomic here: never use an object as a lock.
    pub async fn serve(dir: &Path, name: &str) -> Result<Self, BucketError> {
        let folder = dir.join(name);
        std::fs::create_dir_all(&folder).map_err(|source| BucketError::Folder { path: folder, source })?;
        let store = s3s_fs::FileSystem::new(dir)
            .map_err(|error| BucketError::Store { path: dir.to_owned(), reason: format!("{error:?}") })?;
        let mut builder = S3ServiceBuilder::new(store);
        builder.set_auth(SimpleAuth::from_single("test", "test"));
        let s3 = builder.build();
        let router = Router::new().fallback(move |request: Request| answer(s3.clone(), request));
        Ok(Self { server: Loopback::serve(router).await? })
    }

    /// The endpoint, `http://127.0.0.1:<port>`.
    pub fn endpoint(&self) -> String {
        self.server.endpoint()
    }
}

async fn answer(s3: S3Service, request: Request) -> axum::response::Response {
    match s3.call(request.map(s3s::Body::http_body_unsync)).await {
        Ok(response) => response.map(Body::new),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:?}")).into_response(),
    }
}
