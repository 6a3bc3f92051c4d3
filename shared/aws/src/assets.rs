//! A task's files in S3: one archive, named by the hash of its content, fetched once per execution environment.

use std::{
    io,
    path::{Path, PathBuf},
};

use aws_sdk_s3::{Client, primitives::ByteStream};
use lamplighter_core::digest::sha256;

use crate::clients::cause;

/// Assets that could not be published or fetched.
#[derive(Debug, thiserror::Error)]
pub enum AssetsError {
    /// The address is not that of an archive.
    #[error("`{0}` is not the address of an archive: it must be s3://<bucket>/<folder>/<sha256>.tar")]
    Address(String),
    /// S3 refused, or was not reached.
    #[error("{url}: {cause}")]
    Service {
        /// The archive.
        url: String,
        /// The error of the service or the network.
        cause: String,
    },
    /// The content does not match the archive's name.
    #[error("{url}: its content has the hash {found}, which is not its name: publish it again")]
    Corrupt {
        /// The archive.
        url: String,
        /// The hash of what was fetched.
        found: String,
    },
    /// A file could not be read or written.
    #[error("{path}: {cause}")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// The error of the system.
        cause: io::Error,
    },
}

/// Puts a folder's files into S3 below `folder/` and returns the archive's address. The same files have the same
/// address: they are stored with paths, bytes and run bits, and nothing else.
pub async fn publish(
    client: &Client,
    bucket: &str,
    folder: &str,
    files: &Path,
) -> Result<String, AssetsError> {
    let archive = archive(files).map_err(|cause| AssetsError::File { path: files.to_path_buf(), cause })?;
    let key = format!("{folder}/{}.tar", sha256(&archive));
    let url = format!("s3://{bucket}/{key}");
    let put = client.put_object().bucket(bucket).key(key).body(ByteStream::from(archive)).send().await;
    put.map_err(|error| service(&url, &error))?;
    Ok(url)
}

/// The folder that holds an archive's files: below `cache`, named by the hash. If it is not there yet, the archive
/// is fetched, checked against its name and unpacked; the folder appears whole or not at all.
pub async fn fetch(client: &Client, url: &str, cache: &Path) -> Result<PathBuf, AssetsError> {
    let (bucket, key, name) = parse(url).ok_or_else(|| AssetsError::Address(url.to_owned()))?;
    let folder = cache.join(format!("lamplighter-assets-{name}"));
    if folder.is_dir() {
        return Ok(folder);
    }
    let object = client.get_object().bucket(bucket).key(key).send().await.map_err(|e| service(url, &e))?;
    let archive = object.body.collect().await.map_err(|e| service(url, &e))?.into_bytes();
    let found = sha256(&archive);
    if found != name {
        return Err(AssetsError::Corrupt { url: url.to_owned(), found });
    }
    let unpacking = cache.join(format!("lamplighter-assets-{name}.{}", std::process::id()));
    let file = |path: &Path| {
        let path = path.to_path_buf();
        move |cause| AssetsError::File { path, cause }
    };
    tar::Archive::new(&archive[..]).unpack(&unpacking).map_err(file(&unpacking))?;
    match std::fs::rename(&unpacking, &folder) {
        Ok(()) => Ok(folder),
        // Another process of the same environment was first.
        Err(_) if folder.is_dir() => {
            std::fs::remove_dir_all(&unpacking).map_err(file(&unpacking))?;
            Ok(folder)
        }
        Err(cause) => Err(file(&folder)(cause)),
    }
}

/// Bucket, key and hash of `s3://<bucket>/<folder>/<sha256>.tar`.
fn parse(url: &str) -> Option<(&str, &str, &str)> {
    let (bucket, key) = url.strip_prefix("s3://")?.split_once('/')?;
    let name = key.rsplit('/').next()?.strip_suffix(".tar")?;
    let is_hash = name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit());
    (!bucket.is_empty() && is_hash).then_some((bucket, key, name))
}

/// The files below a folder, in the order of their paths, without owners and times.
fn archive(files: &Path) -> io::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    builder.mode(tar::HeaderMode::Deterministic);
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let mut entries = std::fs::read_dir(files.join(&folder))?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let path = folder.join(entry.file_name());
            if entry.path().is_dir() {
                builder.append_dir(&path, entry.path())?;
                folders.push(path);
            } else {
                builder.append_path_with_name(entry.path(), &path)?;
            }
        }
    }
    builder.into_inner()
}

fn service<E: std::error::Error + 'static>(url: &str, error: &E) -> AssetsError {
    AssetsError::Service { url: url.to_owned(), cause: cause(error) }
}
