//! The arguments of a queue task's jobs, where the task's own package is not a dependency.

use std::borrow::Cow;

use lamplighter_aws::jobs::Jobs;
use lamplighter_core::{
    definition::Priority,
    schema::{Violation, check},
};
use schemars::{JsonSchema, schema_for};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::enqueue::Enqueue;

/// The arguments of the jobs of one queue task.
///
/// `#[task(queue)]` implements it for the struct that it generates (`SendReceiptArguments`). An application that does not
/// depend on the task's package implements it for a struct of its own, whose fields are the parameters of the task's
/// function. It then needs no runtime: `lamplighter` with `default-features = false`.
///
/// ```no_run
/// use lamplighter::{Arguments, Jobs};
/// use schemars::JsonSchema;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Deserialize, Serialize, JsonSchema)]
/// #[serde(deny_unknown_fields)]
/// struct SendReceipt {
///     to: String,
/// }
///
/// impl Arguments for SendReceipt {
///     const TASK: &'static str = "send-receipt";
///     type Result = u64;
/// }
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let jobs = Jobs::from_environment().await?;
/// let job = SendReceipt { to: "ada@example.com".into() }.enqueue(&jobs).await?;
/// let receipt: u64 = job.result(std::time::Duration::from_secs(60)).await?;
/// # Ok(())
/// # }
/// ```
pub trait Arguments: Serialize + DeserializeOwned + JsonSchema {
    /// The task's name.
    const TASK: &'static str;
    /// The priority of the jobs under a runner.
    const PRIORITY: Priority = Priority::Medium;
    /// The type of the result.
    type Result;

    /// Prepares a job with these arguments; awaiting the returned value enqueues it.
    fn enqueue(&self, jobs: &Jobs) -> Enqueue<Self::Result> {
        let schema = schema_for!(Self).to_value();
        Enqueue::new(jobs, Self::TASK, Self::PRIORITY, self).checked(Cow::Owned(schema))
    }

    /// Reads arguments that others wrote, such as the body of a request, and checks them against the schema.
    ///
    /// # Errors
    ///
    /// The error names the place and the expected value: "`users[0].email` must be a text, and is a number".
    fn from_json(text: &str) -> Result<Self, InvalidArguments> {
        let value: Value = serde_json::from_str(text).map_err(InvalidArguments::Json)?;
        check(&value, &schema_for!(Self).to_value())?;
        serde_json::from_value(value).map_err(InvalidArguments::Type)
    }
}

/// Arguments that do not match their type.
#[derive(Debug, thiserror::Error)]
pub enum InvalidArguments {
    /// The text is not JSON.
    #[error("the arguments are not JSON: {0}")]
    Json(#[source] serde_json::Error),
    /// A value does not match the schema.
    #[error("the arguments are invalid: {0}")]
    Schema(#[from] Violation),
    /// A value matches the schema, but its type refuses it.
    #[error("the arguments are invalid: {0}")]
    Type(#[source] serde_json::Error),
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Import {
        users: Vec<String>,
    }

    impl Arguments for Import {
        const TASK: &'static str = "import-users";
        type Result = ();
    }

    #[test]
    fn q16_arguments_are_read_or_refused_by_name() {
        assert_eq!(Import::from_json(r#"{"users":["a"]}"#).unwrap(), Import { users: vec!["a".into()] });
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        for (text, wanted) in [
            ("", "the arguments are not JSON: EOF while parsing a value at line 1 column 0"),
            ("[]", "the arguments are invalid: it must be an object, and is a list"),
            ("{}", "the arguments are invalid: `users` is missing"),
            (r#"{"users":[1]}"#, "the arguments are invalid: `users[0]` must be a text, and is a number"),
            (r#"{"users":[],"x":1}"#, "the arguments are invalid: `x` is not known"),
            (&deep, "the arguments are not JSON: recursion limit exceeded at line 1 column 128"),
        ] {
            assert_eq!(Import::from_json(text).unwrap_err().to_string(), wanted, "{text:.20}");
        }
    }
}
