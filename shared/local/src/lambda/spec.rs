//! The specification of a function, and the environment of its processes.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    path::PathBuf,
    time::Duration,
};

/// The region of everything on one machine.
pub(crate) const REGION: &str = "us-east-1";

/// A function to register.
#[derive(Debug, Clone)]
pub struct FunctionSpec {
    /// The name under which it is invoked.
    pub name: String,
    /// The path of its `bootstrap` binary.
    pub command: PathBuf,
    /// Its environment variables. They override those that Lambda sets, except the address of the Runtime API. An empty value
    /// removes a variable.
    pub environment: BTreeMap<String, String>,
    /// Variables of this machine, passed on byte for byte. They override those that Lambda sets, and `environment` overrides them.
    pub inherited: Vec<(OsString, OsString)>,
    /// The longest duration of an invocation, from the moment the process takes the event. The process is killed after it.
    pub timeout: Duration,
    /// The memory that the function is told it has. It is not enforced.
    pub memory_mb: u32,
    /// The function's files: its `LAMBDA_TASK_ROOT`.
    pub task_root: Option<PathBuf>,
    /// Its current folder; `task_root` if none is set, as in Lambda.
    pub current_folder: Option<PathBuf>,
    /// The function that receives the record of an asynchronous event whose retries are exhausted.
    pub on_failure: Option<String>,
    /// The number of retries of a failed asynchronous event.
    pub max_retries: u8,
    /// The number of invocations that run at once; others wait. `None` means no limit.
    pub concurrency: Option<usize>,
}

impl FunctionSpec {
    /// A function with Lambda's defaults: 3 seconds, 128 MB, two retries of an event, no destination.
    pub fn new(name: impl Into<String>, command: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            command: command.into(),
            environment: BTreeMap::new(),
            inherited: Vec::new(),
            timeout: Duration::from_secs(3),
            memory_mb: 128,
            task_root: None,
            current_folder: None,
            on_failure: None,
            max_retries: 2,
            concurrency: None,
        }
    }

    pub(crate) fn arn(&self) -> String {
        arn(&self.name)
    }

    /// The whole environment of a sandbox, except the address of the Runtime API. `base` are the variables of this machine that
    /// every function has.
    pub(crate) fn environment(
        &self,
        base: &[(&'static str, OsString)],
        sandbox: u64,
    ) -> BTreeMap<OsString, OsString> {
        let mut environment: BTreeMap<OsString, OsString> =
            base.iter().map(|(name, value)| ((*name).into(), value.clone())).collect();
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
        environment.extend(lambdas.map(|(name, value)| (name.into(), value.into())));
        if let Some(root) = &self.task_root {
            environment.insert("LAMBDA_TASK_ROOT".into(), root.clone().into());
        }
        environment.extend(self.inherited.iter().cloned());
        for (name, value) in &self.environment {
            if value.is_empty() {
                environment.remove(OsStr::new(name));
            } else {
                environment.insert(name.into(), value.into());
            }
        }
        environment
    }
}

/// The ARN of a function.
pub(crate) fn arn(name: &str) -> String {
    format!("arn:aws:lambda:{REGION}:000000000000:function:{name}")
}

/// The function's name in a reference: a name, a partial or a whole ARN, each with or without a version or alias.
pub(crate) fn function_name(reference: &str) -> &str {
    let name = reference.rsplit_once("function:").map_or(reference, |(_, name)| name);
    name.split_once(':').map_or(name, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    #[test]
    fn a_reference_may_be_a_name_or_an_arn() {
        let whole = arn("migrate");
        for reference in
            ["migrate", "migrate:$LATEST", "000000000000:function:migrate", &whole, &format!("{whole}:live")]
        {
            assert_eq!(function_name(reference), "migrate", "{reference}");
        }
    }

    #[test]
    fn the_spec_overrides_this_machine_which_overrides_lambda() {
        let mut spec = FunctionSpec::new("migrate", "bootstrap");
        let foreign = OsString::from_vec(b"BAD\xa3".to_vec());
        spec.inherited = [("AWS_REGION", "x"), ("TZ", "Europe/Berlin"), ("EMPTY", ""), ("LANG", "C")]
            .map(|(name, value)| (name.into(), value.into()))
            .into();
        spec.inherited.push((foreign.clone(), foreign.clone()));
        for (name, value) in [("AWS_REGION", "eu-central-1"), ("LANG", ""), ("_HANDLER", "")] {
            spec.environment.insert(name.to_owned(), value.to_owned());
        }
        let environment = spec.environment(&[("PATH", "/bin".into())], 7);
        for (name, value) in [
            ("AWS_REGION", Some("eu-central-1")),
            ("AWS_LAMBDA_LOG_STREAM_NAME", Some("local/[$LATEST]7")),
            ("PATH", Some("/bin")),
            ("TZ", Some("Europe/Berlin")),
            ("EMPTY", Some("")),
            ("LANG", None),
            ("_HANDLER", None),
            ("LAMBDA_TASK_ROOT", None),
        ] {
            assert_eq!(
                environment.get(OsStr::new(name)).map(OsString::as_os_str),
                value.map(OsStr::new),
                "{name}"
            );
        }
        assert_eq!(environment.get(&foreign), Some(&foreign), "as it is");
    }
}
