//! Baseline B: a hand-written lock and record. A DynamoDB client is created at the start, one conditional write precedes the
//! work, and one update follows it.

use aws_config::BehaviorVersion;
use aws_sdk_dynamodb::{Client, types::AttributeValue};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, rustls_provider::CryptoMode},
};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> Result<(), Error> {
    // The same TLS stack as ours, with the machine's roots: a second one would add minutes to every build, and only
    // enlarge this baseline.
    let http = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let config = aws_config::defaults(BehaviorVersion::latest()).http_client(http).load().await;
    let client = Client::new(&config);
    let table = std::env::var("LAMPLIGHTER_TABLE")?;
    lambda_runtime::run(service_fn(|event: LambdaEvent<Value>| run(&client, &table, event))).await
}

async fn run(client: &Client, table: &str, event: LambdaEvent<Value>) -> Result<Value, Error> {
    let id = AttributeValue::S(event.context.request_id);
    let text = |text: &str| AttributeValue::S(text.to_owned());
    client
        .put_item()
        .table_name(table)
        .item("pk", id.clone())
        .item("sk", text("RUN"))
        .item("status", text("RUNNING"))
        .condition_expression("attribute_not_exists(pk)")
        .send()
        .await?;
    client
        .update_item()
        .table_name(table)
        .key("pk", id)
        .key("sk", text("RUN"))
        .update_expression("SET #status = :status")
        .expression_attribute_names("#status", "status")
        .expression_attribute_values(":status", text("COMPLETED"))
        .send()
        .await?;
    Ok(json!("done"))
}
