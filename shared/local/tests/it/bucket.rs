//! Tests of the bucket with the SDK.

use std::time::Duration;

use aws_sdk_s3::{
    Client, Config,
    config::{BehaviorVersion, Credentials, Region},
    primitives::ByteStream,
};
use lamplighter_local::Bucket;

fn client(bucket: &Bucket) -> Client {
    let of_bucket = bucket.credentials();
    with(bucket, &of_bucket.access_key_id, &of_bucket.secret_access_key)
}

fn with(bucket: &Bucket, id: &str, secret: &str) -> Client {
    Client::from_conf(
        Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new(id, secret, None, None, "test"))
            .endpoint_url(bucket.endpoint())
            .force_path_style(true)
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build(),
    )
}

#[tokio::test]
async fn objects_are_files_that_outlive_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let body = vec![7; 3_000_000];
    {
        let bucket = Bucket::serve(folder.path(), "assets").await.unwrap();
        let client = client(&bucket);
        let put =
            client.put_object().bucket("assets").key("results/one").body(ByteStream::from(body.clone()));
        put.send().await.unwrap();
    }
    let bucket = Bucket::serve(folder.path(), "assets").await.unwrap();
    let reader = client(&bucket);
    let got = reader.get_object().bucket("assets").key("results/one").send().await.unwrap();
    assert_eq!(got.body.collect().await.unwrap().to_vec(), body);
    let missing = reader.get_object().bucket("assets").key("no").send().await.unwrap_err();
    assert!(missing.into_service_error().is_no_such_key());

    let id = &bucket.credentials().access_key_id;
    for stranger in [with(&bucket, id, "wrong"), with(&bucket, "test", "test")] {
        assert!(stranger.get_object().bucket("assets").key("results/one").send().await.is_err());
    }
}

#[tokio::test]
async fn an_old_object_below_a_prefix_is_removed_with_its_metadata() {
    let folder = tempfile::tempdir().unwrap();
    let bucket = Bucket::serve(folder.path(), "assets").await.unwrap();
    let client = client(&bucket);
    for key in ["runs/a/1/data.json", "runs/a/2/data.json", "results/one"] {
        let put = client.put_object().bucket("assets").key(key).metadata("of", "a test");
        put.checksum_algorithm(aws_sdk_s3::types::ChecksumAlgorithm::Crc32).send().await.unwrap();
    }
    let files = || std::fs::read_dir(folder.path()).unwrap().count();
    let before = files();
    let older = |age| {
        let mut keys = bucket.older("runs", age).unwrap();
        keys.sort();
        keys
    };
    assert_eq!(older(Duration::from_secs(3600)), Vec::<String>::new());
    assert_eq!(older(Duration::ZERO), ["runs/a/1/data.json", "runs/a/2/data.json"]);
    bucket.remove("runs/a/1/data.json").unwrap();
    assert_eq!(before - files(), 2, "the object and its metadata");
    assert!(
        folder.path().join("assets/runs/a/2").exists() && !folder.path().join("assets/runs/a/1").exists()
    );
    bucket.remove("runs/a/1/data.json").unwrap();
    bucket.remove("runs/a/2/data.json").unwrap();
    assert_eq!(older(Duration::ZERO), Vec::<String>::new());
    let kept = client.get_object().bucket("assets").key("results/one").send().await.unwrap();
    assert_eq!(kept.metadata().unwrap()["of"], "a test");
}
