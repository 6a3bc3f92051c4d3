//! Access to deployed stacks: their resources, functions, tables and logs.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use aws_sdk_cloudformation as cloudformation;
use aws_sdk_dynamodb as dynamodb;
use aws_sdk_lambda as lambda;
use cloudformation::operation::describe_stack_events::DescribeStackEventsOutput;
use dynamodb::types::AttributeValue;
use lambda::config::StalledStreamProtectionConfig;
use lambda::config::retry::RetryConfig;
use lambda::error::DisplayErrorContext;
use lambda::primitives::Blob;
use lambda::types::InvocationType;
use serde_json::{Value, json};

/// A client of the emulator with all permissions. Its methods panic on errors of the API; tests of errors use the SDK's
/// clients.
#[derive(Debug, Clone)]
pub struct Aws {
    /// The client of CloudFormation.
    pub cloudformation: cloudformation::Client,
    /// The client of Lambda. It never repeats a request, so that tests can count invocations.
    pub lambda: lambda::Client,
    /// The client of DynamoDB.
    pub dynamodb: dynamodb::Client,
    http: reqwest::Client,
    endpoint: String,
}

/// An event of a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackEvent {
    /// The resource's name in the template, or the stack's own name.
    pub logical_id: String,
    /// The status, e.g. `UPDATE_FAILED`.
    pub status: String,
    /// The reason; empty if CloudFormation gives none.
    pub reason: String,
}

/// The result of a synchronous invocation.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct Invocation {
    /// `Unhandled` or `Handled` if the function failed.
    pub function_error: Option<String>,
    /// The response, or Lambda's description of the error.
    pub payload: Value,
}

/// Creates the configuration of an SDK crate. It is the same for each crate, but each has its own type.
macro_rules! config {
    ($sdk:ident, $endpoint:expr) => {
        $sdk::Config::builder()
            .behavior_version($sdk::config::BehaviorVersion::latest())
            .region($sdk::config::Region::new("us-east-1"))
            .credentials_provider($sdk::config::Credentials::new("test", "test", None, None, "tests"))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .endpoint_url($endpoint)
    };
}

impl Aws {
    /// Creates a client of the emulator at `endpoint`.
    pub fn new(endpoint: &str) -> Self {
        let lambda = config!(lambda, endpoint)
            .retry_config(RetryConfig::disabled())
            // An invocation sends nothing while the function runs.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .build();
        Self {
            cloudformation: cloudformation::Client::from_conf(config!(cloudformation, endpoint).build()),
            lambda: lambda::Client::from_conf(lambda),
            dynamodb: dynamodb::Client::from_conf(config!(dynamodb, endpoint).build()),
            http: reqwest::Client::builder()
                .no_proxy()
                // A test may have several runtimes, and a connection ends with its own.
                .pool_max_idle_per_host(0)
                .timeout(Duration::from_secs(60))
                .build()
                .expect("an HTTP client can be made"),
            endpoint: endpoint.to_owned(),
        }
    }

    /// The status of a stack, such as `UPDATE_ROLLBACK_COMPLETE`; `None` if there is no such stack.
    pub async fn stack_status(&self, stack: &str) -> Option<String> {
        let stack = self.describe(stack).await?;
        Some(stack.stack_status().expect("a stack has a status").as_str().to_owned())
    }

    /// The outputs of a stack; empty if there is no such stack.
    pub async fn stack_outputs(&self, stack: &str) -> BTreeMap<String, String> {
        let stack = self.describe(stack).await;
        let outputs = stack.iter().flat_map(cloudformation::types::Stack::outputs);
        outputs
            .filter_map(|output| Some((output.output_key()?.to_owned(), output.output_value()?.to_owned())))
            .collect()
    }

    /// All events of a stack, oldest first.
    pub async fn stack_events(&self, stack: &str) -> Vec<StackEvent> {
        let pages = self.cloudformation.describe_stack_events().stack_name(stack).into_paginator().send();
        let pages: Vec<_> = or_panic("DescribeStackEvents", pages.try_collect().await);
        let mut events: Vec<_> = pages
            .iter()
            .flat_map(DescribeStackEventsOutput::stack_events)
            .map(|event| StackEvent {
                logical_id: event.logical_resource_id().unwrap_or_default().to_owned(),
                status: event.resource_status().map(|status| status.as_str().to_owned()).unwrap_or_default(),
                reason: event.resource_status_reason().unwrap_or_default().to_owned(),
            })
            .collect();
        events.reverse();
        events
    }

    /// Invokes a function and waits for its response.
    pub async fn invoke(&self, function: &str, payload: &Value) -> Invocation {
        let request = self.lambda.invoke().function_name(function).payload(Blob::new(payload.to_string()));
        let answer = or_panic("Invoke", request.send().await);
        let payload = answer.payload().map(AsRef::as_ref).unwrap_or_default();
        Invocation {
            function_error: answer.function_error().map(str::to_owned),
            payload: serde_json::from_slice(payload)
                .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(payload).into_owned())),
        }
    }

    /// Invokes a function asynchronously, so that Lambda retries it if it fails.
    pub async fn invoke_async(&self, function: &str, payload: &Value) {
        let request = self.lambda.invoke().function_name(function).invocation_type(InvocationType::Event);
        or_panic("Invoke", request.payload(Blob::new(payload.to_string())).send().await);
    }

    /// All items of a table as plain JSON, in any order.
    pub async fn scan(&self, table: &str) -> Vec<Value> {
        let items =
            self.dynamodb.scan().table_name(table).consistent_read(true).into_paginator().items().send();
        let items: Vec<_> = or_panic("Scan", items.try_collect().await);
        items.into_iter().map(|item| plain(AttributeValue::M(item))).collect()
    }

    /// The log lines of a function, oldest first, with Lambda's own START, END and REPORT lines.
    pub async fn logs(&self, function: &str) -> Vec<String> {
        let configuration = self.lambda.get_function_configuration().function_name(function).send().await;
        let configuration = or_panic("GetFunctionConfiguration", configuration);
        let group = configuration
            .logging_config()
            .and_then(|logging| logging.log_group())
            .map_or_else(|| format!("/aws/lambda/{function}"), str::to_owned);

        let mut messages = Vec::new();
        let mut request = json!({ "logGroupName": group });
        loop {
            let page = self.call("logs", "Logs_20140328.FilterLogEvents", &request).await;
            // A function that has not run yet has no log group.
            let Some(events) = page["events"].as_array() else { return messages };
            messages.extend(events.iter().filter_map(|event| event["message"].as_str()).map(str::to_owned));
            match page.get("nextToken").filter(|token| !token.is_null()) {
                Some(token) => request["nextToken"] = token.clone(),
                None => return messages,
            }
        }
    }

    /// Requests `path` (with its leading slash) from a function URL of the stack's outputs. Returns status and body. The
    /// emulator answers `/health` itself on every host.
    pub async fn get(&self, function_url: &str, path: &str) -> (u16, String) {
        answer(function_url, self.http.get(format!("{}{path}", self.endpoint))).await
    }

    /// Posts JSON to a function URL, as [`get`](Self::get).
    pub async fn post(&self, function_url: &str, path: &str, body: &str) -> (u16, String) {
        let request = self.http.post(format!("{}{path}", self.endpoint)).body(body.to_owned());
        answer(function_url, request.header("content-type", "application/json")).await
    }

    /// The physical id of a resource of a stack.
    pub async fn physical_id(&self, stack: &str, logical_id: &str) -> String {
        let request = self.cloudformation.describe_stack_resource().stack_name(stack);
        let answer = or_panic("DescribeStackResource", request.logical_resource_id(logical_id).send().await);
        let detail = answer.stack_resource_detail().and_then(|detail| detail.physical_resource_id());
        detail.unwrap_or_else(|| panic!("{logical_id} has no physical id")).to_owned()
    }

    /// The URL of a function, or `None` if it has none. Works before the stack has outputs.
    pub async fn function_url(&self, function: &str) -> Option<String> {
        let answer = self.lambda.get_function_url_config().function_name(function).send().await;
        answer.ok().map(|answer| answer.function_url().to_owned())
    }

    /// The keys of a bucket's objects.
    pub async fn keys(&self, bucket: &str) -> Vec<String> {
        let request = self.http.get(format!("{}/{bucket}?list-type=2", self.endpoint));
        let answer = or_panic("ListObjectsV2", signed(request, "s3").send().await);
        let listing = or_panic("ListObjectsV2", answer.text().await);
        let keys = listing.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next());
        keys.map(str::to_owned).collect()
    }

    /// A schedule of EventBridge Scheduler, as its API returns it.
    pub async fn schedule(&self, name: &str) -> Value {
        let request = self.http.get(format!("{}/schedules/{name}", self.endpoint));
        let answer = or_panic("GetSchedule", signed(request, "scheduler").send().await);
        or_panic("GetSchedule", serde_json::from_str(&or_panic("GetSchedule", answer.text().await)))
    }

    /// Receives and deletes the messages of a queue. Waits for some if it is empty.
    pub async fn receive(&self, queue: &str) -> Vec<Value> {
        let started = std::time::Instant::now();
        loop {
            let request = json!({ "QueueUrl": queue, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 5 });
            let answer = self.call("sqs", "AmazonSQS.ReceiveMessage", &request).await;
            let messages = answer["Messages"].as_array().cloned().unwrap_or_default();
            for message in &messages {
                let request = json!({ "QueueUrl": queue, "ReceiptHandle": message["ReceiptHandle"] });
                self.call("sqs", "AmazonSQS.DeleteMessage", &request).await;
            }
            if !messages.is_empty() {
                let body = |message: &Value| serde_json::from_str(message["Body"].as_str()?).ok();
                return messages.iter().map(|message| body(message).expect("a message is JSON")).collect();
            }
            assert!(started.elapsed() < Duration::from_secs(60), "no message in {queue}: {answer}");
        }
    }

    /// Sets an environment variable of a function.
    pub async fn set_variable(&self, function: &str, name: &str, value: &str) {
        let configuration = self.lambda.get_function_configuration().function_name(function).send().await;
        let configuration = or_panic("GetFunctionConfiguration", configuration);
        let mut variables = configuration.environment.and_then(|it| it.variables).unwrap_or_default();
        variables.insert(name.to_owned(), value.to_owned());
        let environment = lambda::types::Environment::builder().set_variables(Some(variables)).build();
        let update = self.lambda.update_function_configuration().function_name(function);
        or_panic("UpdateFunctionConfiguration", update.environment(environment).send().await);
    }

    async fn describe(&self, stack: &str) -> Option<cloudformation::types::Stack> {
        match self.cloudformation.describe_stacks().stack_name(stack).send().await {
            Ok(answer) => answer.stacks.unwrap_or_default().pop(),
            Err(error) if DisplayErrorContext(&error).to_string().contains("does not exist") => None,
            Err(error) => panic!("DescribeStacks: {}", DisplayErrorContext(error)),
        }
    }

    /// Calls an operation of a service with a JSON protocol. A missing resource is no error.
    async fn call(&self, service: &str, operation: &str, request: &Value) -> Value {
        let answer = signed(self.http.post(&self.endpoint), service)
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", operation)
            .body(request.to_string())
            .send()
            .await;
        let body = or_panic(operation, or_panic(operation, answer).text().await);
        let answer: Value = or_panic(operation, serde_json::from_str(&body));
        match answer["__type"].as_str() {
            None => answer,
            Some(kind) if kind.ends_with("ResourceNotFoundException") => answer,
            Some(_) => panic!("{operation}: {answer}"),
        }
    }
}

/// Adds a signature header for a service without an SDK client here. The emulator reads the user from it and does not check
/// the signature of user `test`.
fn signed(request: reqwest::RequestBuilder, service: &str) -> reqwest::RequestBuilder {
    let credential = format!("Credential=test/20260101/us-east-1/{service}/aws4_request");
    let authorization = format!("AWS4-HMAC-SHA256 {credential}, SignedHeaders=host, Signature={:064}", 0);
    request.header("x-amz-date", "20260101T000000Z").header("authorization", authorization)
}

/// A value of DynamoDB as JSON: numbers as numbers, sets as arrays, bytes as their count.
fn plain(value: AttributeValue) -> Value {
    let number = |text: String| serde_json::from_str(&text).unwrap_or(Value::String(text));
    match value {
        AttributeValue::S(text) => Value::String(text),
        AttributeValue::N(text) => number(text),
        AttributeValue::Bool(flag) => Value::Bool(flag),
        AttributeValue::L(items) => items.into_iter().map(plain).collect(),
        AttributeValue::M(fields) => fields.into_iter().map(|(name, field)| (name, plain(field))).collect(),
        AttributeValue::Ss(texts) => texts.into_iter().map(Value::String).collect(),
        AttributeValue::Ns(texts) => texts.into_iter().map(number).collect(),
        AttributeValue::B(bytes) => json!({ "bytes": bytes.as_ref().len() }),
        AttributeValue::Null(_) => Value::Null,
        other => panic!("no JSON for {other:?}"),
    }
}

/// Sends a request to a function URL. Returns status and body.
async fn answer(function_url: &str, request: reqwest::RequestBuilder) -> (u16, String) {
    // The emulator serves all hosts on its one port.
    let host = function_url.trim_start_matches("https://").trim_end_matches('/');
    let answer = or_panic("a request to a function URL", request.header("host", host).send().await);
    (answer.status().as_u16(), or_panic("the body of a function URL", answer.text().await))
}

fn or_panic<T, E: Error>(what: &str, result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("{what}: {}", DisplayErrorContext(error)))
}
