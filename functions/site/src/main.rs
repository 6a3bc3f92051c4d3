//! The application itself: one function that says which version of it answers.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let [version, environment] = ["VERSION", "LAMPLIGHTER_ENVIRONMENT"].map(|name| std::env::var(name).ok());
    let answer = answer(version.as_deref(), environment.as_deref());
    lambda_runtime::run(service_fn(async |_: LambdaEvent<Value>| Ok::<_, Error>(answer.clone()))).await
}

/// The response of a function URL. What the environment does not say is null.
fn answer(version: Option<&str>, environment: Option<&str>) -> Value {
    json!({
        "statusCode": 200,
        "headers": { "content-type": "application/json", "cache-control": "no-store" },
        "body": json!({ "version": version, "environment": environment }).to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_url_is_answered_with_version_and_environment() {
        let answered = answer(Some("2"), Some("production"));
        assert_eq!(answered["statusCode"], 200);
        assert_eq!(answered["headers"]["content-type"], "application/json");
        let body: Value = serde_json::from_str(answered["body"].as_str().unwrap()).unwrap();
        assert_eq!(body, json!({ "version": "2", "environment": "production" }));
        let unknown: Value = serde_json::from_str(answer(None, None)["body"].as_str().unwrap()).unwrap();
        assert_eq!(unknown, json!({ "version": null, "environment": null }));
    }
}
