//! Tests of the table with the SDK.

use std::{
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_sdk_dynamodb::{
    Client, Config,
    config::{BehaviorVersion, Credentials, Region},
    types::{
        AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
    },
};
use lamplighter_local::{Engine, Synchronous};

fn client(endpoint: &str) -> Client {
    Client::from_conf(
        Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .endpoint_url(endpoint)
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build(),
    )
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

async fn create(client: &Client) {
    let pk = AttributeDefinition::builder().attribute_name("pk").attribute_type(ScalarAttributeType::S);
    let key = KeySchemaElement::builder().attribute_name("pk").key_type(KeyType::Hash);
    client
        .create_table()
        .table_name("locks")
        .attribute_definitions(pk.build().unwrap())
        .key_schema(key.build().unwrap())
        .billing_mode(BillingMode::PayPerRequest)
        .send()
        .await
        .unwrap();
}

async fn claim(client: &Client, owner: &str) -> bool {
    let put = client.put_item().table_name("locks").item("pk", text("lock")).item("owner", text(owner));
    put.condition_expression("attribute_not_exists(pk)").send().await.is_ok()
}

async fn serve(path: &Path) -> (Engine, Client) {
    let engine = Engine::open(path, Synchronous::Normal).unwrap();
    let client = client(&engine.serve().await.unwrap());
    (engine, client)
}

#[tokio::test]
async fn one_of_many_writers_wins_and_the_file_keeps_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.db");
    let (engine, writer) = serve(&path).await;
    create(&writer).await;
    let racers = (0..8).map(|racer| {
        let client = writer.clone();
        tokio::spawn(async move { claim(&client, &racer.to_string()).await })
    });
    let mut wins = 0;
    for racer in racers.collect::<Vec<_>>() {
        wins += usize::from(racer.await.unwrap());
    }
    assert_eq!(wins, 1);
    engine.close().await;
    assert!(writer.list_tables().send().await.is_err(), "the endpoint stops with the engine");

    let (engine, reader) = serve(&path).await;
    assert!(!claim(&reader, "late").await);
    engine.close().await;
}

#[tokio::test]
async fn a_dropped_engine_stops_its_endpoint_and_unlocks_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.db");
    let (engine, client) = serve(&path).await;
    create(&client).await;
    drop(engine);
    // The lock is released once the server has stopped.
    reopened(&path).await.close().await;
}

/// Opens a table's file once it is unlocked.
pub(crate) async fn reopened(path: &Path) -> Engine {
    let opened = async {
        loop {
            match Engine::open(path, Synchronous::Normal) {
                Ok(engine) => break engine,
                Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), opened).await.unwrap()
}

#[tokio::test]
async fn a_sweep_deletes_expired_items() {
    use aws_sdk_dynamodb::types::TimeToLiveSpecification;
    let engine = Engine::memory().unwrap();
    let client = client(&engine.serve().await.unwrap());
    create(&client).await;
    let ttl = TimeToLiveSpecification::builder().enabled(true).attribute_name("expires_at").build().unwrap();
    client.update_time_to_live().table_name("locks").time_to_live_specification(ttl).send().await.unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    // More than one page.
    let old = (0..230).map(|i| (format!("old {i}"), now - 60));
    let new = (0..3).map(|i| (format!("new {i}"), now + 3600));
    for (pk, expires_at) in old.chain(new) {
        let put = client.put_item().table_name("locks").item("pk", text(&pk));
        put.item("expires_at", AttributeValue::N(expires_at.to_string())).send().await.unwrap();
    }
    let word = client.put_item().table_name("locks").item("pk", text("word")).item("expires_at", text("0"));
    word.send().await.unwrap();
    assert_eq!(engine.sweep().await.unwrap(), 230);
    let left = client.scan().table_name("locks").send().await.unwrap();
    let mut left: Vec<_> = left.items().iter().map(|item| item["pk"].as_s().unwrap()).collect();
    left.sort();
    assert_eq!(left, ["new 0", "new 1", "new 2", "word"]);
    assert_eq!(engine.sweep().await.unwrap(), 0);
}
