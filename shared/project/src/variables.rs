//! The environment variables that a function can have.

/// The names that Lambda sets itself and rejects in a function's configuration. Others that it sets (`TZ`, `PATH`, `LANG`,
/// `LD_LIBRARY_PATH`) can be overridden. Source: AWS Lambda Developer Guide, "Reserved environment variables".
const RESERVED: [&str; 11] = [
    "AWS_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_DEFAULT_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "LAMBDA_RUNTIME_DIR",
    "LAMBDA_TASK_ROOT",
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
];
/// The prefix of further reserved names.
const RESERVED_PREFIX: &str = "AWS_LAMBDA_";
/// The names with this prefix that a function can have all the same. Source: AWS Lambda Developer Guide, "Modifying the
/// runtime environment".
const OWN: [&str; 3] = ["AWS_LAMBDA_DOTNET_", "AWS_LAMBDA_EXEC_WRAPPER", "AWS_LAMBDA_NODEJS_"];

/// The reason to reject a name that [`is_name`] does not accept.
pub const NO_NAME: &str =
    "is not a valid variable name: use at least two letters, digits or `_`, beginning with a letter";
/// The most bytes of a function's variables, with their names. Source: AWS Lambda Developer Guide, "Lambda quotas".
pub const MAX_BYTES: usize = 4096;

/// Returns the reason to reject a reserved name.
pub fn reserved(name: &str) -> Option<&'static str> {
    let is_own = OWN.iter().any(|own| name.starts_with(own));
    let is_reserved = RESERVED.contains(&name) || name.starts_with(RESERVED_PREFIX) && !is_own;
    is_reserved.then_some("is reserved by Lambda: use another name")
}

/// Returns true if Lambda accepts the name. Source: AWS Lambda API Reference, `Environment`.
pub fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.len() > 1
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_names_are_rejected_and_overridable_ones_are_not() {
        for name in [
            "_HANDLER",
            "_X_AMZN_TRACE_ID",
            "AWS_DEFAULT_REGION",
            "AWS_REGION",
            "AWS_EXECUTION_ENV",
            "AWS_LAMBDA_FUNCTION_NAME",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
            "AWS_LAMBDA_FUNCTION_VERSION",
            "AWS_LAMBDA_INITIALIZATION_TYPE",
            "AWS_LAMBDA_LOG_GROUP_NAME",
            "AWS_LAMBDA_LOG_STREAM_NAME",
            "AWS_ACCESS_KEY",
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
            "AWS_LAMBDA_RUNTIME_API",
            "LAMBDA_TASK_ROOT",
            "LAMBDA_RUNTIME_DIR",
        ] {
            assert!(reserved(name).is_some(), "{name}");
        }
        for name in [
            "TZ",
            "PATH",
            "LANG",
            "LD_LIBRARY_PATH",
            "NODE_PATH",
            "AWS_LAMBDA_EXEC_WRAPPER",
            "AWS_CA_BUNDLE",
            "aws_region",
        ] {
            assert!(reserved(name).is_none(), "{name}");
        }
    }
}
