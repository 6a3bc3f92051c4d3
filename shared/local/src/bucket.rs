//! The bucket: the S3 API over a folder (`s3s-fs`), served on loopback.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use axum::{Router, body::Body, extract::Request, http::StatusCode, response::IntoResponse};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use s3s::{
    auth::SimpleAuth,
    service::{S3Service, S3ServiceBuilder},
};

use crate::{
    key::Key,
    loopback::{Loopback, ServeError},
    random,
};

/// An error while starting the bucket.
#[derive(Debug, thiserror::Error)]
pub enum BucketError {
    /// The bucket's folder cannot be created.
    #[error("cannot create the bucket's folder {}", path.display())]
    Folder {
        /// The folder of the bucket.
        path: PathBuf,
        /// The file system's error.
        source: std::io::Error,
    },
    /// The store behind the S3 API cannot use the folder.
    #[error("cannot use {} for buckets: {reason}", path.display())]
    Store {
        /// The folder of all buckets.
        path: PathBuf,
        /// The store's message.
        reason: String,
    },
    /// The endpoint cannot be opened.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

/// A bucket, served until it is dropped. Its objects stay in the folder.
#[derive(Debug)]
pub struct Bucket {
    server: Loopback,
    credentials: Credentials,
    dir: PathBuf,
    name: String,
}

/// An access key and its secret, created for one bucket. Its `Debug` shows neither.
pub struct Credentials {
    /// The value of `AWS_ACCESS_KEY_ID`.
    pub access_key_id: String,
    /// The value of `AWS_SECRET_ACCESS_KEY`.
    pub secret_access_key: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

impl Bucket {
    /// Serves the S3 API over `dir`. The bucket `name` is its subfolder of that name, which is created if it is missing.
    ///
    /// Requests must be signed with the bucket's [`credentials`](Self::credentials), which are new each time, and address the
    /// bucket in the path. A key in the path, as other endpoints have, is impossible: S3's signatures cover the path.
    ///
    /// `If-None-Match: *` is not atomic here: never use an object as a lock.
    pub async fn serve(dir: &Path, name: &str) -> Result<Self, BucketError> {
        let folder = dir.join(name);
        std::fs::create_dir_all(&folder).map_err(|source| BucketError::Folder { path: folder, source })?;
        let store = s3s_fs::FileSystem::new(dir)
            .map_err(|error| BucketError::Store { path: dir.to_owned(), reason: format!("{error:?}") })?;
        let credentials = Credentials {
            access_key_id: random::token().map_err(ServeError::Key)?[..20].to_owned(),
            secret_access_key: Key::new().map_err(ServeError::Key)?.as_str().to_owned(),
        };
        let mut builder = S3ServiceBuilder::new(store);
        let Credentials { access_key_id, secret_access_key } = &credentials;
        builder.set_auth(SimpleAuth::from_single(access_key_id, secret_access_key.as_str()));
        let s3 = builder.build();
        let router = Router::new().fallback(move |request: Request| answer(s3.clone(), request));
        let server = Loopback::serve_signed(router, &credentials.access_key_id).await?;
        Ok(Self { server, credentials, dir: dir.to_owned(), name: name.to_owned() })
    }

    /// The endpoint, `http://127.0.0.1:<port>`.
    pub fn endpoint(&self) -> String {
        self.server.endpoint()
    }

    /// The credentials with which requests must be signed.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// The environment variables of a process that uses the bucket: the endpoint and the credentials.
    pub fn variables(&self) -> [(String, String); 3] {
        [
            ("AWS_ENDPOINT_URL_S3", self.endpoint()),
            ("AWS_ACCESS_KEY_ID", self.credentials.access_key_id.clone()),
            ("AWS_SECRET_ACCESS_KEY", self.credentials.secret_access_key.clone()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
    }

    /// The keys of the objects in a folder of the bucket that are older than `age`.
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
                // It fails if another process has removed the object meanwhile.
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

    /// Removes an object with its metadata, and the folders that become empty. A missing object is no error.
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
            // It fails for a folder that is not empty.
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
