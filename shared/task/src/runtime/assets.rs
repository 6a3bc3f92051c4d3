//! The task's assets: beside its binary, or in S3 and fetched once per process.

use std::path::PathBuf;

use lamplighter_aws::{
    assets::{self, AssetsError},
    clients::Clients,
};
use lamplighter_core::run::{ErrorKind, RunError};
use tokio::sync::OnceCell;

use crate::runtime::{ProcessEnvironment, erased::BoxFuture};

/// The source of a task's assets.
#[derive(Debug)]
pub enum Source {
    /// A local folder.
    Folder(PathBuf),
    /// An archive in S3, fetched at first use into a folder named by its hash.
    Archive {
        /// The archive's address, `s3://<bucket>/<key>`.
        url: String,
        /// The folder, once the archive is unpacked.
        folder: OnceCell<PathBuf>,
    },
}

impl Source {
    /// Returns the folder of the assets, fetching them if necessary.
    ///
    /// A wrong address or a corrupt archive is a configuration error; a failed download is a system error.
    pub(crate) async fn folder(&self, clients: &Clients) -> Result<PathBuf, RunError> {
        match self {
            Self::Folder(folder) => Ok(folder.clone()),
            Self::Archive { url, folder } => {
                let fetch = async || assets::fetch(clients.s3().await, url, &std::env::temp_dir()).await;
                folder.get_or_try_init(fetch).await.cloned().map_err(|error| {
                    let kind = match error {
                        AssetsError::Address(_) | AssetsError::Corrupt { .. } => ErrorKind::Configuration,
                        AssetsError::Service { .. } | AssetsError::File { .. } => ErrorKind::System,
                    };
                    RunError::new(kind, format!("assets: {error}"))
                })
            }
        }
    }
}

/// Returns the folder of the process's assets, fetching them if necessary.
pub(crate) fn fetch_assets(process: &ProcessEnvironment) -> BoxFuture<'_, Result<PathBuf, RunError>> {
    Box::pin(process.assets.folder(&process.clients))
}
