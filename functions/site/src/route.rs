//! Routing of requests, without I/O.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use lamplighter::{Arguments as _, JobKey};
use serde_json::Value;

use crate::{import::ImportUsers, response::Response};

/// A request to the function's URL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Request {
    pub method: String,
    pub path: String,
    pub body: String,
}

/// The meaning of a request.
#[derive(Debug, PartialEq)]
pub(crate) enum Route {
    /// The version.
    Version,
    /// A new import.
    Import(ImportUsers),
    /// The status and result of an import.
    Imported(JobKey),
    /// None of these.
    Refused(Response),
}

impl Request {
    /// Reads the event of a function URL. Missing parts are empty. Source: AWS Lambda Developer Guide, "Request and response
    /// payloads" of function URLs, payload version 2.0.
    pub(crate) fn of(event: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let body = text(&event["body"]);
        let is_encoded = event["isBase64Encoded"] == true;
        let decoded = is_encoded.then(|| BASE64_STANDARD.decode(&body).unwrap_or_default());
        Self {
            method: text(&event["requestContext"]["http"]["method"]),
            path: text(&event["rawPath"]),
            body: decoded.map_or(body, |bytes| String::from_utf8_lossy(&bytes).into_owned()),
        }
    }
}

/// Decides what a request asks for.
pub(crate) fn route(request: &Request) -> Route {
    let is_get = matches!(request.method.as_str(), "GET" | "HEAD");
    match request.path.as_str() {
        "/" if is_get => Route::Version,
        "/import" if request.method == "POST" => match ImportUsers::from_json(&request.body) {
            Ok(import) => Route::Import(import),
            Err(error) => Route::Refused(Response::error(400, error.to_string())),
        },
        "/" => other_method("GET"),
        "/import" => other_method("POST"),
        path => match path.strip_prefix("/imports/").and_then(job) {
            Some(job) if is_get => Route::Imported(job),
            Some(_) => other_method("GET"),
            None => Route::Refused(Response::error(404, format!("there is nothing at {path}"))),
        },
    }
}

/// The job of an import with this id.
fn job(id: &str) -> Option<JobKey> {
    format!("{}/{id}", ImportUsers::TASK).parse().ok()
}

fn other_method(allowed: &'static str) -> Route {
    Route::Refused(Response::error(405, format!("only {allowed} is allowed here")).with("allow", allowed))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refusal(method: &str, path: &str, body: &str) -> (u16, String) {
        let request = Request { method: method.into(), path: path.into(), body: body.into() };
        match route(&request) {
            Route::Refused(response) => {
                (response.status, response.body["error"].as_str().unwrap().to_owned())
            }
            other => panic!("{request:?}: {other:?}"),
        }
    }

    #[test]
    fn q16_an_invalid_request_is_refused_with_its_fault() {
        for (method, path, body, status, wanted) in [
            ("", "", "", 404, "there is nothing at "),
            ("GET", "/imports", "", 404, "there is nothing at /imports"),
            ("GET", "/imports/1", "", 404, "there is nothing at /imports/1"),
            ("GET", "/imports/../import", "", 404, "there is nothing at /imports/../import"),
            ("PUT", "/", "", 405, "only GET is allowed here"),
            ("GET", "/import", "", 405, "only POST is allowed here"),
            ("DELETE", "/imports/01KAJ4QZ8M0000000000000000", "", 405, "only GET is allowed here"),
            (
                "POST",
                "/import",
                "",
                400,
                "the arguments are not JSON: EOF while parsing a value at line 1 column 0",
            ),
            ("POST", "/import", "{}", 400, "the arguments are invalid: `users` is missing"),
            (
                "POST",
                "/import",
                r#"{"users":[{"email":7,"name":"Ada"}]}"#,
                400,
                "the arguments are invalid: `users[0].email` must be a text, and is a number",
            ),
        ] {
            assert_eq!(refusal(method, path, body), (status, wanted.to_owned()), "{method} {path} {body}");
        }
    }

    #[test]
    fn q16_a_valid_request_has_its_route() {
        let event = |method: &str, path: &str| json!({ "rawPath": path, "requestContext": { "http": { "method": method } } });
        assert_eq!(route(&Request::of(&event("GET", "/"))), Route::Version);
        let id = "01KAJ4QZ8M0000000000000000";
        let key = format!("import-users/{id}").parse().unwrap();
        assert_eq!(route(&Request::of(&event("GET", &format!("/imports/{id}")))), Route::Imported(key));

        let body = r#"{"users":[{"email":"ada@example.org","name":"Ada"}]}"#;
        let import = || Route::Import(ImportUsers::from_json(body).unwrap());
        let mut event = event("POST", "/import");
        event["body"] = body.into();
        assert_eq!(route(&Request::of(&event)), import());
        event["body"] = BASE64_STANDARD.encode(body).into();
        event["isBase64Encoded"] = true.into();
        assert_eq!(route(&Request::of(&event)), import());
    }
}
