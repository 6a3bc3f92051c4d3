//! Where a stack stands, in CloudFormation.

use aws_config::SdkConfig;
use aws_sdk_cloudformation::Client;

use crate::clients::cause;

/// The stacks of an account.
#[derive(Clone, Debug)]
pub struct Stacks {
    client: Client,
}

/// Why it is not known where a stack stands.
#[derive(Debug, thiserror::Error)]
#[error("the status of stack `{stack}` cannot be read: {cause}")]
pub struct StatusError {
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
    pub async fn status(&self, stack_id: &str) -> Result<String, StatusError> {
        let failed = |cause: String| StatusError { stack: stack_id.to_owned(), cause };
        let output = self.client.describe_stacks().stack_name(stack_id).send().await;
        let output = output.map_err(|error| failed(cause(&error)))?;
        let status = output.stacks().first().and_then(|stack| stack.stack_status());
        status.map(|status| status.as_str().to_owned()).ok_or_else(|| failed("no such stack".to_owned()))
    }
}
