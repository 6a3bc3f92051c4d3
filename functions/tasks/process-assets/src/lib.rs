//! Publishes the files in `public` to the bucket: compressed, with a content hash in their names.

mod prepare;
mod publish;

use std::path::Path;

use lamplighter::prelude::*;

pub use prepare::{AssetsError, File, prepare};
pub use publish::{Published, Target, Withdrawn, publish, withdraw};

/// The environment variable with the bucket's name.
const BUCKET: &str = "LAMPLIGHTER_BUCKET";

/// The task's configuration. `[tasks.<name>.config]` in lamplighter.toml overrides it.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The header `Cache-Control` of the files. Their names change with their content, so caches may keep them forever.
    pub cache_control: String,
    /// The prefix of their keys in the bucket.
    pub prefix: String,
}

impl Default for Config {
    fn default() -> Self {
        Self { cache_control: "public, max-age=31536000, immutable".into(), prefix: "public".into() }
    }
}

/// Compresses the public files and uploads the new ones.
///
/// `LAMPLIGHTER_BUCKET` names the bucket. Files of earlier versions stay, so that pages that are already loaded keep
/// working. `manifest.json` maps each file to its current key and is written last. A rollback restores the previous
/// manifest and removes the files that the rolled-back version has uploaded.
#[task(once_per = Content, timeout = "5m", copy_assets = ["public"], rollback = unpublish)]
pub async fn process_assets(ctx: Context<Config>) -> TaskResult {
    let target = target(&ctx).await?;
    let version = ctx.version().unwrap_or_default();
    let published = process(&ctx.working_directory().join("public"), version, &target).await?;
    Outcome::success(published.summary()).with_data(&published)
}

/// Withdraws the files that the rolled-back deployment has published.
async fn unpublish(ctx: Context<Config>) -> TaskResult {
    let undone = ctx.deployment().and_then(|deployment| deployment.rolled_back_version.as_deref());
    let withdrawn = withdraw(undone.unwrap_or_default(), &target(&ctx).await?).await?;
    Outcome::success(withdrawn.summary()).with_data(&withdrawn)
}

async fn target(ctx: &Context<Config>) -> Result<Target, TaskError> {
    let bucket = std::env::var(BUCKET).ok().filter(|name| !name.is_empty());
    let bucket = bucket.ok_or_else(|| {
        TaskError::new(format!("{BUCKET} is not set: expected the name of the bucket for the files")).fatal()
    })?;
    Ok(Target {
        s3: ctx.clients().s3().await.clone(),
        bucket,
        prefix: ctx.config.prefix.trim_matches('/').to_owned(),
        cache_control: ctx.config.cache_control.clone(),
    })
}

/// Publishes the files of a folder as a version.
pub async fn process(folder: &Path, version: &str, target: &Target) -> Result<Published, TaskError> {
    let folder = folder.to_owned();
    // Compression is CPU-bound, so it runs on a blocking thread.
    let files = tokio::task::spawn_blocking(move || prepare(&folder)).await?.fatal()?;
    Ok(publish(files, version, target).await?)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs};

    use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
    use lamplighter_local::Bucket;
    use tempfile::TempDir;

    use super::*;

    struct Site {
        folder: TempDir,
        bucket: Bucket,
    }

    impl Site {
        /// The task's public files, and an empty bucket.
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let public = folder.path().join("public");
            fs::create_dir(&public).unwrap();
            for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/public")).unwrap() {
                let path = entry.unwrap().path();
                fs::copy(&path, public.join(path.file_name().unwrap())).unwrap();
            }
            let bucket = Bucket::serve(&folder.path().join("buckets"), "assets").await.unwrap();
            Self { folder, bucket }
        }

        fn target(&self) -> Target {
            self.target_with(&self.bucket.credentials().secret_access_key)
        }

        fn target_with(&self, secret: &str) -> Target {
            let id = &self.bucket.credentials().access_key_id;
            let config = aws_sdk_s3::Config::builder()
                .behavior_version(BehaviorVersion::latest())
                .region(Region::new("us-east-1"))
                .credentials_provider(Credentials::new(id, secret, None, None, "test"))
                .endpoint_url(self.bucket.endpoint())
                .force_path_style(true)
                .http_client(aws_smithy_http_client::Builder::new().build_http())
                .build();
            let Config { cache_control, prefix } = Config::default();
            let s3 = aws_sdk_s3::Client::from_conf(config);
            Target { s3, bucket: "assets".into(), prefix, cache_control }
        }

        async fn process(&self) -> Result<Published, TaskError> {
            self.process_for("1").await
        }

        async fn process_for(&self, version: &str) -> Result<Published, TaskError> {
            process(&self.folder.path().join("public"), version, &self.target()).await
        }

        /// Returns the keys in the bucket, and the manifest.
        async fn served(&self) -> (Vec<String>, BTreeMap<String, String>) {
            let Target { s3, bucket, .. } = self.target();
            let listed = s3.list_objects_v2().bucket(&bucket).send().await.unwrap();
            let keys =
                listed.contents().iter().filter_map(|object| object.key().map(str::to_owned)).collect();
            let manifest = s3.get_object().bucket(&bucket).key("public/manifest.json").send().await;
            let manifest = match manifest {
                Ok(manifest) => manifest.body.collect().await.unwrap().into_bytes(),
                Err(_) => "{}".into(),
            };
            (keys, serde_json::from_slice(&manifest).unwrap())
        }
    }

    #[tokio::test]
    async fn l18_a_rollback_withdraws_a_versions_files_and_restores_the_previous_manifest() {
        let site = Site::new().await;
        let css = site.folder.path().join("public/app.css");
        let before = site.process_for("1").await.unwrap();
        fs::write(&css, "body {}").unwrap();
        let after = site.process_for("2").await.unwrap();
        // A retry publishes nothing new.
        site.process_for("2").await.unwrap();
        assert_eq!(site.served().await.1, after.files);
        // A version that has published nothing withdraws nothing.
        let none = withdraw("3", &site.target()).await.unwrap();
        assert_eq!((none.removed.len(), site.served().await.1), (0, after.files.clone()));
        for removed in [1, 0] {
            let withdrawn = withdraw("2", &site.target()).await.unwrap();
            assert_eq!(withdrawn.removed.len(), removed);
            let (keys, manifest) = site.served().await;
            assert_eq!(manifest, before.files);
            assert!(
                !keys.contains(&after.files["app.css"]) && keys.contains(&before.files["app.css"]),
                "{keys:?}"
            );
        }
        // The version is deployed again.
        assert_eq!(site.process_for("2").await.unwrap().uploaded, [after.files["app.css"].clone()]);
        assert_eq!(site.served().await.1, after.files);
    }

    #[tokio::test]
    async fn l18_withdrawing_the_first_version_leaves_nothing() {
        let site = Site::new().await;
        let published = site.process_for("1").await.unwrap();
        let withdrawn = withdraw("1", &site.target()).await.unwrap();
        assert_eq!(withdrawn.removed.len(), published.files.len());
        assert_eq!(site.served().await, (Vec::new(), BTreeMap::new()));
    }

    #[tokio::test]
    async fn published_files_can_be_served_unchanged() {
        let site = Site::new().await;
        let text = "body { color: red }\n".repeat(100);
        fs::create_dir(site.folder.path().join("public/css")).unwrap();
        fs::write(site.folder.path().join("public/css/print.css"), &text).unwrap();
        let published = site.process().await.unwrap();
        assert_eq!((published.uploaded.len(), published.files.len()), (4, 4));

        let Target { s3, bucket, cache_control, .. } = site.target();
        let get = async |key: &str| s3.get_object().bucket(&bucket).key(key).send().await.unwrap();
        let manifest = get("public/manifest.json").await;
        assert_eq!(manifest.cache_control(), Some("no-cache"));
        let manifest = manifest.body.collect().await.unwrap().into_bytes();
        let manifest: BTreeMap<String, String> = serde_json::from_slice(&manifest).unwrap();
        assert_eq!(manifest, published.files);

        let key = &manifest["css/print.css"];
        let parts: Vec<_> = key.split('.').collect();
        assert!(matches!(parts[..], ["public/css/print", _, "css"]), "{key}");
        let object = get(key).await;
        assert_eq!(object.content_type(), Some("text/css; charset=utf-8"));
        assert_eq!(object.cache_control(), Some(&*cache_control));
        assert_eq!(object.content_encoding(), Some("br"));
        let body = object.body.collect().await.unwrap().into_bytes();
        let mut plain = Vec::new();
        brotli::BrotliDecompress(&mut &body[..], &mut plain).unwrap();
        assert_eq!(plain, text.as_bytes());
    }

    #[tokio::test]
    async fn only_new_files_are_uploaded_and_old_ones_stay() {
        let site = Site::new().await;
        let before = site.process().await.unwrap();
        let again = site.process().await.unwrap();
        assert_eq!((again.uploaded.len(), &again.files), (0, &before.files));

        fs::write(site.folder.path().join("public/app.css"), "body {}").unwrap();
        let after = site.process().await.unwrap();
        assert_eq!(after.uploaded, [after.files["app.css"].clone()]);
        assert_ne!(after.files["app.css"], before.files["app.css"]);
        let Target { s3, bucket, .. } = site.target();
        s3.head_object().bucket(bucket).key(&before.files["app.css"]).send().await.unwrap();
    }

    #[tokio::test]
    async fn errors_name_the_file_or_the_key() {
        let site = Site::new().await;
        let folder = site.folder.path().join("public");
        let error = process(&folder, "1", &site.target_with("wrong")).await.unwrap_err();
        assert!(error.to_string().starts_with("cannot read assets/public/manifest.json"), "{error}");
        assert!(!error.is_fatal() && error.to_string().contains("SignatureDoesNotMatch"), "{error}");
        let error = process(&folder.join("none"), "1", &site.target()).await.unwrap_err();
        assert!(error.is_fatal() && error.to_string().contains("public/none"), "{error}");
    }
}
