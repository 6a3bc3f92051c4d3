//! The status, events and outputs of stacks, in CloudFormation.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use aws_config::{SdkConfig, timeout::TimeoutConfig};
use aws_sdk_cloudformation::{Client, types::Stack};
use jiff::Timestamp;
use lamplighter_core::deployment::{Properties, StackEvent};

use crate::{
    clients::{Clients, cause},
    environment::{BUCKET_OUTPUT, QUEUES_OUTPUT, TABLE_OUTPUT, open_table},
    jobs::{Jobs, Waker},
};

/// The timeout of one attempt of a request to CloudFormation.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The most pages of a stack's events that are read, of 100 events each.
const MAX_PAGES: usize = 5;

/// The stacks of an account.
#[derive(Clone, Debug)]
pub struct Stacks {
    client: Client,
}

/// A stack that could not be read.
#[derive(Debug, thiserror::Error)]
#[error("stack `{stack}` cannot be read: {cause}")]
pub struct StackError {
    /// The stack.
    pub stack: String,
    /// The error of the service or the network.
    pub cause: String,
}

impl Stacks {
    /// The stacks that `config`'s account has.
    pub fn new(config: &SdkConfig) -> Self {
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(TIMEOUT).build();
        let config = aws_sdk_cloudformation::config::Builder::from(config).timeout_config(timeouts);
        Self { client: Client::from_conf(config.build()) }
    }

    /// Returns a stack's status, such as `UPDATE_ROLLBACK_IN_PROGRESS`. A stack that does not exist has the status
    /// `DELETE_COMPLETE`, which CloudFormation itself reports for 90 days after a deletion.
    pub async fn status(&self, stack_id: &str) -> Result<String, StackError> {
        let stack = match self.describe(stack_id).await {
            Err(StackError { cause, .. }) if cause.contains("does not exist") => {
                return Ok("DELETE_COMPLETE".to_owned());
            }
            described => described?,
        };
        let status = stack.stack_status().map(|status| status.as_str().to_owned());
        status.ok_or_else(|| failed(stack_id, "it has no status"))
    }

    /// Returns a stack's events since `since`, newest first. Reads whole pages, at most five of 100 events, so the last
    /// page may have earlier events too. Events of nested stacks are not included.
    pub async fn events(&self, stack_id: &str, since: Timestamp) -> Result<Vec<StackEvent>, StackError> {
        let (mut events, mut token) = (Vec::new(), None);
        for _ in 0..MAX_PAGES {
            let page = self.client.describe_stack_events().stack_name(stack_id).set_next_token(token);
            let page = page.send().await.map_err(|error| failed(stack_id, cause(&error)))?;
            events.extend(page.stack_events.unwrap_or_default().into_iter().filter_map(read));
            token = page.next_token;
            let reaches_back = events.last().is_some_and(|event: &StackEvent| event.at < since);
            if token.is_none() || reaches_back {
                break;
            }
        }
        Ok(events)
    }

    /// A stack's outputs, by key.
    pub async fn outputs(&self, stack: &str) -> Result<BTreeMap<String, String>, StackError> {
        let outputs = self.describe(stack).await?.outputs.unwrap_or_default();
        Ok(outputs
            .into_iter()
            .filter_map(|output| Some((output.output_key?, output.output_value?)))
            .collect())
    }

    async fn describe(&self, stack: &str) -> Result<Stack, StackError> {
        let output = self.client.describe_stacks().stack_name(stack).send().await;
        let stacks = output.map_err(|error| failed(stack, cause(&error)))?.stacks.unwrap_or_default();
        stacks.into_iter().next().ok_or_else(|| failed(stack, "no such stack"))
    }
}

impl Jobs {
    /// Connects to the jobs of a stack in AWS, by its name: from a server or a script that has nothing but credentials. One
    /// request to CloudFormation reads the stack's outputs. Create it once per process and clone it.
    ///
    /// Region and credentials come from the SDK's own variables and files. The credentials must allow
    /// `cloudformation:DescribeStacks`, and access to the table and the queues.
    ///
    /// ```no_run
    /// # use lamplighter_aws::jobs::Jobs;
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let jobs = Jobs::of_stack("shop").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The stack cannot be read, or it has no queue task.
    pub async fn of_stack(name: &str) -> Result<Self, StackError> {
        let clients = Arc::new(Clients::default());
        let outputs = Stacks::new(clients.config().await).outputs(name).await?;
        let output = |key: &str, missing: &str| {
            outputs.get(key).ok_or_else(|| failed(name, format!("it has no output {key}: {missing}")))
        };
        let table = output(TABLE_OUTPUT, "name a stack that Lamplighter deployed")?;
        let queues = output(QUEUES_OUTPUT, "it has no queue task")?;
        let bucket = outputs.get(BUCKET_OUTPUT).map(String::as_str);
        let table = open_table(&clients, table, bucket).await;
        Ok(Self::new(table, Waker::queues(queues, Arc::clone(&clients))))
    }
}

/// Converts an event. Returns `None` if it lacks a required field.
fn read(event: aws_sdk_cloudformation::types::StackEvent) -> Option<StackEvent> {
    let at = event.timestamp?;
    let is_stack = event.physical_resource_id.is_some() && event.physical_resource_id == event.stack_id;
    let properties = event.resource_properties.filter(|text| !text.is_empty());
    let properties = properties.and_then(|text| serde_json::from_str(&text).ok());
    Some(StackEvent {
        at: Timestamp::from_nanosecond(at.as_nanos()).ok()?,
        logical_id: event.logical_resource_id?,
        is_stack,
        status: event.resource_status?.as_str().to_owned(),
        properties: properties
            .filter(serde_json::Value::is_object)
            .map(|properties| Properties::of(&properties)),
    })
}

fn failed(stack: &str, cause: impl Into<String>) -> StackError {
    StackError { stack: stack.to_owned(), cause: cause.into() }
}
