//! The bucket: the S3 API over a folder (`s3s-fs`), served on loopback.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use axum::{Router, body::Body, extract::Request, http::StatusCode, response::IntoResponse};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
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
    dir: PathBuf,
    name: String,
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
        Ok(Self { server: Loopback::serve(router).await?, dir: dir.to_owned(), name: name.to_owned() })
    }

    /// The endpoint, `http://127.0.0.1:<port>`.
    pub fn endpoint(&self) -> String {
        self.server.endpoint()
    }

    /// The keys of the objects below a prefix, a folder of the bucket, that were written longer ago than `age`.
    pub fn older(&self, prefix: &str, age: Duration) -> io::Result<Vec<String>> {
        let root = self.dir.join(&self.name);
        let (mut open, mut found) = (vec![root.join(prefix)], Vec::new());
        while let Some(folder) = open.pop() {
            let entries = match fs::read_dir(&folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                entries => entries?,
            };
            for entry in entries {
                let entry = entry?;
                // What is gone meanwhile was removed by another process.
                let Ok(metadata) = entry.metadata() else { continue };
                let path = entry.path();
                if metadata.is_dir() {
                    open.push(path);
                } else if metadata.modified()?.elapsed().is_ok_and(|since| since > age)
                    && let Some(key) = path.strip_prefix(&root).ok().and_then(Path::to_str)
                {
                    found.push(key.to_owned());
                }
            }
        }
        Ok(found)
    }

    /// Removes an object with all that the store keeps of it, and the folders that are empty then. One that is gone is no error.
    pub fn remove(&self, key: &str) -> io::Result<()> {
        let root = self.dir.join(&self.name);
        let [bucket, object] = [&self.name, key].map(|text| BASE64_URL_SAFE_NO_PAD.encode(text));
        let beside = |what: &str| self.dir.join(format!(".bucket-{bucket}.object-{object}.{what}.json"));
        for path in [root.join(key), beside("metadata"), beside("internal")] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let folders = Path::new(key).ancestors().skip(1).take_while(|folder| !folder.as_os_str().is_empty());
        for folder in folders {
            // One that is not empty stays.
            if fs::remove_dir(root.join(folder)).is_err() {
                break;
            }
        }
        Ok(())
    }
}

async fn answer(s3: S3Service, request: Request) -> axum::response::Response {
    match s3.call(request.map(s3s::Body::http_body_unsync)).await {
        Ok(response) => response.map(Body::new),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:?}")).into_response(),
    }
}
