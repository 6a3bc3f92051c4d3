//! The names of environment variables that a function may not have.

/// The names that Lambda sets itself and refuses. Source: AWS Lambda Developer Guide, "Reserved environment variables". Others
/// that it sets (`TZ`, `PATH`, `LANG`, `LD_LIBRARY_PATH`) may be set to something else.
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
/// Further ones begin so.
const RESERVED_PREFIX: &str = "AWS_LAMBDA_";
/// Those that begin so and are a function's own. Source: AWS Lambda Developer Guide, "Modifying the runtime environment".
const OWN: [&str; 3] = ["AWS_LAMBDA_DOTNET_", "AWS_LAMBDA_EXEC_WRAPPER", "AWS_LAMBDA_NODEJS_"];

/// Why a name is none.
pub const NO_NAME: &str =
    "is not a variable's name: it must be two or more letters, digits and `_`, beginning with a letter";
/// The most bytes of a function's variables. Source: AWS Lambda Developer Guide, "Lambda quotas".
pub const MAX_BYTES: usize = 4096;

/// Why no function may have a variable of this name, if so.
pub fn reserved(name: &str) -> Option<&'static str> {
    let is_own = OWN.iter().any(|own| name.starts_with(own));
    let is_reserved = RESERVED.contains(&name) || name.starts_with(RESERVED_PREFIX) && !is_own;
    is_reserved.then_some(
        "is reserved by Lambda, which sets it itself and refuses a function that does: give it another name",
    )
}

/// Returns true if Lambda takes the name. Source: AWS Lambda API Reference, `Environment`.
pub fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.len() > 1
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lambda_reserves_is_known() {
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
