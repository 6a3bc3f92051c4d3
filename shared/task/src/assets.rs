//! The task's files: beside its binary, or in S3, fetched once per execution environment.

use std::path::PathBuf;

use lamplighter_aws::{
    assets::{self, AssetsError},
    clients::Clients,
};
use lamplighter_core::run::{ErrorKind, RunError};
use tokio::sync::OnceCell;

/// Where a task's files come from.
#[derive(Debug)]
pub enum Source {
    /// They lie in this folder.
    Folder(PathBuf),
    /// They are fetched from S3 when they are first needed, and then lie in a folder named by their hash.
    Archive {
        /// The archive's address, `s3://<bucket>/<key>`.
        url: String,
        /// The folder, once they are there.
        folder: OnceCell<PathBuf>,
    },
}

impl Source {
    /// The folder that holds them. Fetched files that cannot be right are an error of the configuration, files that
    /// cannot be fetched one of the system.
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
