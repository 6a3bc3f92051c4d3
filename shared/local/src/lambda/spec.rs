//! What the host is told of a function, and the environment its process gets from that.

use std::{collections::BTreeMap, ffi::OsString, path::PathBuf, time::Duration};

pub(crate) const REGION: &str = "us-east-1";

/// A function as it is registered.
#[derive(Debug, Clone)]
pub struct FunctionSpec {
    /// The name it is invoked by.
    pub name: String,
    /// The `bootstrap` binary.
    pub command: PathBuf,
    /// Added to what Lambda sets; the same name wins over Lambda's, but for the Runtime API's address. An empty value
    /// takes Lambda's away.
    pub environment: BTreeMap<String, String>,
    /// An invocation that takes longer is killed. Counted from the moment the process has the event.
    pub timeout: Duration,
    /// Told to the function, not enforced.
    pub memory_mb: u32,
    /// The function's files: its `LAMBDA_TASK_ROOT` and current folder.
    pub task_root: Option<PathBuf>,
    /// The function that is sent the record of an asynchronous event which failed for good.
    pub on_failure: Option<String>,
    /// How often a failed asynchronous event is tried again.
    pub max_retries: u8,
    /// How many of its invocations run at once; others wait for their turn. None is no limit.
    pub concurrency: Option<usize>,
}

impl FunctionSpec {
    /// A function with Lambda's defaults: 3 seconds, 128 MB, two retries of an event, no destination.
    pub fn new(name: impl Into<String>, command: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            command: command.into(),
            environment: BTreeMap::new(),
            timeout: Duration::from_secs(3),
            memory_mb: 128,
            task_root: None,
            on_failure: None,
            max_retries: 2,
            concurrency: None,
        }
    }

    pub(crate) fn arn(&self) -> String {
        arn(&self.name)
    }

    /// The whole environment of a sandbox, but for the Runtime API's address. `base` is what every function gets
    /// from this machine.
    pub(crate) fn environment(
        &self,
        base: &[(&'static str, OsString)],
        sandbox: u64,
    ) -> BTreeMap<String, OsString> {
        let mut environment: BTreeMap<String, OsString> =
            base.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let lambdas = [
            ("AWS_LAMBDA_FUNCTION_NAME", self.name.clone()),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", self.memory_mb.to_string()),
            ("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{}", self.name)),
            ("AWS_LAMBDA_LOG_STREAM_NAME", format!("local/[$LATEST]{sandbox}")),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".to_owned()),
            ("AWS_REGION", REGION.to_owned()),
            ("AWS_DEFAULT_REGION", REGION.to_owned()),
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
            ("_HANDLER", "bootstrap".to_owned()),
            ("LANG", "en_US.UTF-8".to_owned()),
            ("TZ", ":UTC".to_owned()),
        ];
        environment.extend(lambdas.map(|(name, value)| (name.to_owned(), value.into())));
        if let Some(root) = &self.task_root {
            environment.insert("LAMBDA_TASK_ROOT".to_owned(), root.clone().into());
        }
        environment.extend(self.environment.iter().map(|(name, value)| (name.clone(), value.into())));
        environment.retain(|_, value| !value.is_empty());
        environment
    }
}

pub(crate) fn arn(name: &str) -> String {
    format!("arn:aws:lambda:{REGION}:000000000000:function:{name}")
}

/// The name in a name, a partial or a whole ARN, each with or without a version or alias.
pub(crate) fn function_name(reference: &str) -> &str {
    let name = reference.rsplit_once("function:").map_or(reference, |(_, name)| name);
    name.split_once(':').map_or(name, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_found_by_all_the_ways_to_say_it() {
        let whole = arn("migrate");
        for reference in
            ["migrate", "migrate:$LATEST", "000000000000:function:migrate", &whole, &format!("{whole}:live")]
        {
            assert_eq!(function_name(reference), "migrate", "{reference}");
        }
    }

    #[test]
    fn the_spec_wins_over_what_lambda_sets() {
        let mut spec = FunctionSpec::new("migrate", "bootstrap");
        spec.environment.insert("AWS_REGION".to_owned(), "eu-central-1".to_owned());
        let environment = spec.environment(&[("PATH", "/bin".into())], 7);
        assert_eq!(environment["AWS_REGION"], "eu-central-1");
        assert_eq!(environment["AWS_LAMBDA_LOG_STREAM_NAME"], "local/[$LATEST]7");
        assert_eq!(environment["PATH"], "/bin");
        assert!(!environment.contains_key("LAMBDA_TASK_ROOT"));
    }
}
