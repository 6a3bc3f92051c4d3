//! The jobs of the stack that a process's environment names.

use std::sync::Arc;

use super::{QUEUES, QUEUES_OUTPUT, StackVariables, TABLE, TABLE_OUTPUT, VariableError, WAKE_SOCKET};
use crate::{clients::Clients, jobs::Jobs};

impl Jobs {
    /// Connects to the jobs of the stack that this process's environment names: from a Lambda function, a server or a
    /// script. Create it once per process and clone it: the clones share their connections. It makes no request.
    ///
    /// - `LAMPLIGHTER_TABLE` is the table's name: the stack's output `LamplighterTableName`. Required.
    /// - `LAMPLIGHTER_QUEUES` is the common prefix of the queues' URLs: the output `LamplighterQueues`. For the jobs of a
    ///   runner, `LAMPLIGHTER_WAKE_SOCKET` is the runner's address instead. One of the two is required.
    /// - `LAMPLIGHTER_BUCKET` is the name of the bucket for large arguments and results: the output
    ///   `LamplighterBucketName`.
    ///
    /// Region, credentials and endpoints come from the SDK's own variables and files. The template sets the variables for
    /// a function that `[functions.<id>] enqueues` lists in `lamplighter.toml`.
    ///
    /// ```no_run
    /// # use lamplighter_aws::jobs::Jobs;
    /// # use lamplighter_core::job::NewJob;
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let jobs = Jobs::from_environment().await?;
    /// let job = jobs.enqueue(NewJob::of("send-receipt".parse()?)).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The error names the variable, its value, and the expected values.
    pub async fn from_environment() -> Result<Self, VariableError> {
        StackVariables::read()?.jobs(&Arc::default()).await
    }
}

impl StackVariables {
    /// Connects to the jobs of the stack, for an application that enqueues some.
    ///
    /// Fails if neither queues nor a runner are named, since no worker would start the jobs.
    pub async fn jobs(&self, clients: &Arc<Clients>) -> Result<Jobs, VariableError> {
        let expected = |what: &str, output: &str| format!("{what}: the stack's output {output}");
        if self.table.is_none() {
            let expected = expected("the name of the stack's table", TABLE_OUTPUT);
            return Err(VariableError::Unset { names: TABLE.to_owned(), expected });
        }
        let is_url = |prefix: &str| prefix.starts_with("https://") || prefix.starts_with("http://");
        let prefix =
            "the prefix of the queues' URLs, e.g. `https://sqs.eu-west-1.amazonaws.com/123456789012/shop-`";
        match (&self.queues, &self.wake_socket) {
            (Some(queues), _) if !is_url(queues) => {
                let (name, value) = (QUEUES.to_owned(), queues.clone());
                Err(VariableError::Unfit { name, value, expected: expected(prefix, QUEUES_OUTPUT) })
            }
            (None, None) => {
                let names = format!("{QUEUES} or {WAKE_SOCKET}");
                let expected =
                    expected(prefix, QUEUES_OUTPUT) + "; or under a runner its address for wake-ups";
                Err(VariableError::Unset { names, expected })
            }
            _ => Ok(Jobs::new(self.table(clients).await?, self.waker(clients))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn connected(variables: &[(&str, &str)]) -> Result<Jobs, String> {
        let value = |name: &str| variables.iter().find(|(it, _)| *it == name).map(|(_, value)| value.into());
        let variables = StackVariables::of(value).map_err(|error| error.to_string())?;
        variables
            .jobs(&Arc::new(Clients::local("http://127.0.0.1:1")))
            .await
            .map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn q16_an_application_needs_a_table_and_a_queue_or_a_runner() {
        let (table, queues) = (("LAMPLIGHTER_TABLE", "shop"), ("LAMPLIGHTER_QUEUES", "https://sqs/1/shop-"));
        let runner = ("LAMPLIGHTER_WAKE_SOCKET", "127.0.0.1:4000/key-3f");
        for good in
            [&[table, queues][..], &[table, runner], &[table, queues, runner, ("LAMPLIGHTER_BUCKET", "b")]]
        {
            assert_eq!(connected(good).await.unwrap().table().name(), "shop", "{good:?}");
        }
        for (bad, wanted) in [
            (
                &[queues][..],
                "LAMPLIGHTER_TABLE is not set: expected the name of the stack's table: the stack's output \
                 LamplighterTableName",
            ),
            (
                &[table],
                "LAMPLIGHTER_QUEUES or LAMPLIGHTER_WAKE_SOCKET is not set: expected the prefix of the queues' URLs, e.g. \
                 `https://sqs.eu-west-1.amazonaws.com/123456789012/shop-`: the stack's output LamplighterQueues; or \
                 under a runner its address for wake-ups",
            ),
            (
                &[table, ("LAMPLIGHTER_QUEUES", "shop-")],
                "LAMPLIGHTER_QUEUES is `shop-`: expected the prefix of the queues' URLs, e.g. \
                 `https://sqs.eu-west-1.amazonaws.com/123456789012/shop-`: the stack's output LamplighterQueues",
            ),
            (
                &[table, ("LAMPLIGHTER_WAKE_SOCKET", "4000")],
                "LAMPLIGHTER_WAKE_SOCKET: it must be an address and a key, as `127.0.0.1:4000/key-3f..`",
            ),
        ] {
            assert_eq!(connected(bad).await.err().as_deref(), Some(wanted), "{bad:?}");
        }
    }
}
