//! Publishes the files of the folder `public` in the bucket, compressed, under names that change with their content.

mod prepare;
mod publish;

use std::path::Path;

use lamplighter::prelude::*;

pub use prepare::{AssetsError, File, prepare};
pub use publish::{Published, Target, Withdrawn, publish, withdraw};

/// The variable that names the bucket.
const BUCKET: &str = "LAMPLIGHTER_BUCKET";

/// What can be changed without a new build.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The `Cache-Control` of the files. Their names change with their content, so nothing ever has to ask again.
    pub cache_control: String,
    /// What their keys in the bucket begin with.
    pub prefix: String,
}

impl Default for Config {
    fn default() -> Self {
        Self { cache_control: "public, max-age=31536000, immutable".into(), prefix: "public".into() }
    }
}

/// Compresses the public files and uploads those that the bucket does not have yet.
///
/// The bucket is the one `LAMPLIGHTER_BUCKET` names. Files of earlier versions stay, so that pages already loaded go
/// on working; `manifest.json` says which key each file has now, and is written last. A rollback brings back the manifest
/// that was there before, and removes the files that the undone version has uploaded.
#[task(once_per = Content, timeout = "5m", copy_assets = ["public"], rollback = unpublish)]
pub async fn process_assets(ctx: Context<Config>) -> TaskResult {
    let target = target(&ctx).await?;
    let version = ctx.version().unwrap_or_default();
    let published = process(&ctx.working_directory().join("public"), version, &target).await?;
    Outcome::success(published.summary()).with_data(&published)
}

/// Takes back what the deployment that is undone has published.
async fn unpublish(ctx: Context<Config>) -> TaskResult {
    let undone = ctx.deployment().and_then(|deployment| deployment.rolled_back_version.as_deref());
    let withdrawn = withdraw(undone.unwrap_or_default(), &target(&ctx).await?).await?;
    Outcome::success(withdrawn.summary()).with_data(&withdrawn)
}

async fn target(ctx: &Context<Config>) -> Result<Target, TaskError> {
    let bucket = std::env::var(BUCKET).ok().filter(|name| !name.is_empty());
    let bucket = bucket.ok_or_else(|| {
        TaskError::new(format!("{BUCKET} is not set: it must name the bucket for the files")).fatal()
    })?;
    Ok(Target {
        s3: ctx.clients().s3().await.clone(),
        bucket,
        prefix: ctx.config.prefix.trim_matches('/').to_owned(),
        cache_control: ctx.config.cache_control.clone(),
    })
}

/// Publishes the files of a folder for a version.
pub async fn process(folder: &Path, version: &str, target: &Target) -> Result<Published, TaskError> {
    let folder = folder.to_owned();
    // Compression keeps a processor busy.
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
        /// The public files that go with the task, and an empty bucket.
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

        /// The keys in the bucket, and what the manifest says.
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
    async fn l18_what_a_version_has_published_is_withdrawn_and_the_version_before_is_served() {
        let site = Site::new().await;
        let css = site.folder.path().join("public/app.css");
        let before = site.process_for("1").await.unwrap();
        fs::write(&css, "body {}").unwrap();
        let after = site.process_for("2").await.unwrap();
        // The task was tried again, which publishes nothing new.
        site.process_for("2").await.unwrap();
        assert_eq!(site.served().await.1, after.files);
        // Another version has published nothing.
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
        // The version comes again.
        assert_eq!(site.process_for("2").await.unwrap().uploaded, [after.files["app.css"].clone()]);
        assert_eq!(site.served().await.1, after.files);
    }

    #[tokio::test]
    async fn l18_of_a_first_version_that_is_withdrawn_nothing_is_left() {
        let site = Site::new().await;
        let published = site.process_for("1").await.unwrap();
        let withdrawn = withdraw("1", &site.target()).await.unwrap();
        assert_eq!(withdrawn.removed.len(), published.files.len());
        assert_eq!(site.served().await, (Vec::new(), BTreeMap::new()));
    }

    #[tokio::test]
    async fn what_is_published_can_be_served_as_it_is() {
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
    async fn only_what_is_new_is_uploaded_and_the_old_stays() {
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
    async fn what_s3_or_the_folder_refuses_is_named() {
        let site = Site::new().await;
        let folder = site.folder.path().join("public");
        let error = process(&folder, "1", &site.target_with("wrong")).await.unwrap_err();
        assert!(error.to_string().starts_with("cannot read assets/public/manifest.json"), "{error}");
        assert!(!error.is_fatal() && error.to_string().contains("SignatureDoesNotMatch"), "{error}");
        let error = process(&folder.join("none"), "1", &site.target()).await.unwrap_err();
        assert!(error.is_fatal() && error.to_string().contains("public/none"), "{error}");
    }
}
