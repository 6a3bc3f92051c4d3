//! The application: a function that responds with its version.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let [version, environment] = ["VERSION", "LAMPLIGHTER_ENVIRONMENT"].map(|name| std::env::var(name).ok());
    let answer = answer(version.as_deref(), environment.as_deref());
    lambda_runtime::run(service_fn(async |_: LambdaEvent<Value>| Ok::<_, Error>(answer.clone()))).await
}

/// Creates the response of a function URL. Missing environment variables become null.
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
    fn the_response_has_the_version_and_the_environment() {
        let answered = answer(Some("2"), Some("production"));
        assert_eq!(answered["statusCode"], 200);
        assert_eq!(answered["headers"]["content-type"], "application/json");
        let body: Value = serde_json::from_str(answered["body"].as_str().unwrap()).unwrap();
        assert_eq!(body, json!({ "version": "2", "environment": "production" }));
        let unknown: Value = serde_json::from_str(answer(None, None)["body"].as_str().unwrap()).unwrap();
        assert_eq!(unknown, json!({ "version": null, "environment": null }));
    }
}
