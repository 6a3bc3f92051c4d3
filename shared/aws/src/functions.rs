//! Invoking functions, in Lambda.

use std::{fmt, time::Duration};

use aws_config::{
    SdkConfig, retry::RetryConfig, stalled_stream_protection::StalledStreamProtectionConfig,
    timeout::TimeoutConfig,
};
use aws_sdk_lambda::{Client, primitives::Blob, types::InvocationType};
use lamplighter_core::digest::sha256;
use serde_json::Value;

use crate::clients::cause;

/// The timeout of making a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The timeout of one attempt of a request that Lambda answers at once.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The variables that hold a task's configuration.
const CONFIGURATION: [&str; 3] = ["LAMPLIGHTER_ASSETS", "LAMPLIGHTER_ENVIRONMENT", "LAMPLIGHTER_SETTINGS"];

/// The functions of an account.
#[derive(Clone, Debug)]
pub struct Functions {
    /// The client for invocations, which are not retried.
    client: Client,
    /// The client for requests that may be retried.
    repeating: Client,
}

/// The response of a function.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    /// The value that it returned.
    Returned(Value),
    /// It failed, or its process did.
    Failed(FunctionFailure),
}

/// The failure of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionFailure {
    /// The error type, such as `Runtime.ExitError`.
    pub kind: String,
    /// The error message.
    pub message: String,
}

impl FunctionFailure {
    /// Returns true if Lambda ended the process at its timeout.
    pub fn is_timeout(&self) -> bool {
        self.kind == "Sandbox.Timedout" || self.message.contains("Task timed out after")
    }
}

impl fmt::Display for FunctionFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.message)
    }
}

/// A failed invocation. The function may have started.
#[derive(Debug, thiserror::Error)]
#[error("function `{function}`: {cause}")]
pub struct InvokeError {
    /// The function.
    pub function: String,
    /// The error of the service or the network.
    pub cause: String,
}

impl Functions {
    /// The functions of the account in `config`. An invocation is not retried, since the task may have started although
    /// the response was lost. Its response has no timeout, since the task may run for long.
    pub fn new(config: &SdkConfig) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(ANSWER_TIMEOUT)
            .build();
        let repeating = aws_sdk_lambda::config::Builder::from(config).timeout_config(timeouts).build();
        let config = aws_sdk_lambda::config::Builder::from(config)
            .retry_config(RetryConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).build())
            .build();
        Self { client: Client::from_conf(config), repeating: Client::from_conf(repeating) }
    }

    /// Invokes a function and waits for what it returns.
    pub async fn invoke(&self, function: &str, payload: &Value) -> Result<Response, InvokeError> {
        let output = self
            .client
            .invoke()
            .function_name(function)
            .payload(Blob::new(payload.to_string()))
            .send()
            .await
            .map_err(|error| failed(function, &error))?;
        let payload = output.payload.map(Blob::into_inner).unwrap_or_default();
        let value: Value = serde_json::from_slice(&payload).unwrap_or(Value::Null);
        if output.function_error.is_none() {
            return Ok(Response::Returned(value));
        }
        let word = |key: &str| value[key].as_str().map(str::to_owned);
        Ok(Response::Failed(FunctionFailure {
            kind: word("errorType").unwrap_or_else(|| "Unhandled".to_owned()),
            message: word("errorMessage").unwrap_or_else(|| String::from_utf8_lossy(&payload).into_owned()),
        }))
    }

    /// Invokes a function without waiting.
    pub async fn start(&self, function: &str, payload: &str) -> Result<(), InvokeError> {
        let event = InvocationType::Event;
        let payload = Blob::new(payload.to_string());
        let invoke = self.client.invoke().function_name(function).invocation_type(event).payload(payload);
        invoke.send().await.map(|_| ()).map_err(|error| failed(function, &error))
    }

    /// A digest of a function's content: its code with the assets in it, and its configuration. The rest of its environment does
    /// not matter: on one machine the port of an endpoint changes with each start.
    pub async fn content(&self, function: &str) -> Result<String, InvokeError> {
        let output = self.repeating.get_function_configuration().function_name(function).send().await;
        let output = output.map_err(|error| failed(function, &error))?;
        let variables = output.environment.and_then(|e| e.variables).unwrap_or_default();
        let configuration = CONFIGURATION.map(|name| variables.get(name));
        Ok(sha256(format!("{}{configuration:?}", output.code_sha256.unwrap_or_default())))
    }
}

fn failed<E: std::error::Error + 'static>(function: &str, error: &E) -> InvokeError {
    InvokeError { function: function.to_owned(), cause: cause(error) }
}
