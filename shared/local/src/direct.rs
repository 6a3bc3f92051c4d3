//! The DynamoDB API of an engine in this process, without a socket: what an SDK's client has for an HTTP client.

use std::{fmt, sync::Weak};

use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
        SharedHttpConnector,
    },
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};
use aws_smithy_types::body::SdkBody;
use dynoxide::{Database, DynoxideError, actions::transact_write_items::TransactWriteItemsRequest};
use serde::{Serialize, de::DeserializeOwned};

use crate::table::Open;

/// How the target of a request begins, before its operation.
const TARGET: &str = "DynamoDB_20120810.";

/// Answers requests with an engine, as long as that is open. The answer is there when the future is made: whoever polls it
/// does the engine's work.
#[derive(Clone)]
struct Direct(Weak<Open>);

pub(crate) fn client(engine: Weak<Open>) -> SharedHttpClient {
    SharedHttpClient::new(Direct(engine))
}

impl fmt::Debug for Direct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Direct")
    }
}

impl HttpClient for Direct {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Direct {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let Some(open) = self.0.upgrade() else {
            return HttpConnectorFuture::ready(Err(ConnectorError::io("the table is closed".into())));
        };
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let operation = target.strip_prefix(TARGET).unwrap_or(target);
        let (status, body) =
            match answer(&open.database, operation, request.body().bytes().unwrap_or_default()) {
                Ok(body) => (200, body),
                Err(error) => (error.status_code(), error.to_json()),
            };
        let answered = status.try_into().map(|status| {
            let mut response = HttpResponse::new(status, SdkBody::from(body));
            response.headers_mut().insert("content-type", "application/x-amz-json-1.0");
            response
        });
        HttpConnectorFuture::ready(answered.map_err(|error| ConnectorError::other(Box::new(error), None)))
    }
}

/// Has the engine do what is asked for, of what this project asks for.
fn answer(database: &Database, operation: &str, body: &[u8]) -> dynoxide::Result<String> {
    match operation {
        "BatchGetItem" => with(body, |it| database.batch_get_item(it)),
        "BatchWriteItem" => with(body, |it| database.batch_write_item(it)),
        "CreateTable" => with(body, |it| database.create_table(it)),
        "DeleteItem" => with(body, |it| database.delete_item(it)),
        "DescribeTable" => with(body, |it| database.describe_table(it)),
        "GetItem" => with(body, |it| database.get_item(it)),
        "PutItem" => with(body, |it| database.put_item(it)),
        "Query" => with(body, |it| database.query(it)),
        // What an answer is remembered by, for a request that is made again: these are not, and remembering costs.
        "TransactWriteItems" => with(body, |it| {
            database.transact_write_items(TransactWriteItemsRequest { client_request_token: None, ..it })
        }),
        "UpdateItem" => with(body, |it| database.update_item(it)),
        "UpdateTimeToLive" => with(body, |it| database.update_time_to_live(it)),
        other => Err(DynoxideError::ValidationException(format!("{other} needs the engine's endpoint"))),
    }
}

fn with<Q: DeserializeOwned, A: Serialize>(
    body: &[u8],
    act: impl FnOnce(Q) -> dynoxide::Result<A>,
) -> dynoxide::Result<String> {
    let request = serde_json::from_slice(body).map_err(|error| {
        // Its readers say by this word what is not a fault of the JSON.
        let text = error.to_string();
        match text.strip_prefix("VALIDATION:") {
            Some(text) => DynoxideError::ValidationException(text.to_owned()),
            None => DynoxideError::SerializationException(text),
        }
    })?;
    serde_json::to_string(&act(request)?)
        .map_err(|error| DynoxideError::InternalServerError(error.to_string()))
}
