//! Where a stack stands and what it says of itself, in CloudFormation.

use std::collections::BTreeMap;

use aws_config::SdkConfig;
use aws_sdk_cloudformation::{Client, types::Stack};

use crate::clients::cause;

/// The stacks of an account.
#[derive(Clone, Debug)]
pub struct Stacks {
    client: Client,
}

/// Why a stack could not be read.
#[derive(Debug, thiserror::Error)]
#[error("stack `{stack}` cannot be read: {cause}")]
pub struct StackError {
    /// The stack.
    pub stack: String,
    /// What the service or the network said.
    pub cause: String,
}

impl Stacks {
    /// The stacks that `config`'s account has.
    pub fn new(config: &SdkConfig) -> Self {
        Self { client: Client::new(config) }
    }

    /// A stack's status, such as `UPDATE_ROLLBACK_IN_PROGRESS`.
    pub async fn status(&self, stack_id: &str) -> Result<String, StackError> {
        let stack = self.describe(stack_id).await?;
        let status = stack.stack_status().map(|status| status.as_str().to_owned());
        status.ok_or_else(|| failed(stack_id, "it has no status"))
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

fn failed(stack: &str, cause: impl Into<String>) -> StackError {
    StackError { stack: stack.to_owned(), cause: cause.into() }
}
