//! The responses of a function URL.

use serde_json::{Value, json};

/// A response with a JSON body.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Response {
    pub status: u16,
    pub body: Value,
    /// A header beside those that each response has.
    pub header: Option<(&'static str, String)>,
}

impl Response {
    pub(crate) fn of(status: u16, body: Value) -> Self {
        Self { status, body, header: None }
    }

    /// A response that says what is wrong.
    pub(crate) fn error(status: u16, message: impl Into<String>) -> Self {
        Self::of(status, json!({ "error": message.into() }))
    }

    pub(crate) fn with(self, name: &'static str, value: impl Into<String>) -> Self {
        Self { header: Some((name, value.into())), ..self }
    }
}

/// Formats it as Lambda expects it.
impl From<Response> for Value {
    fn from(response: Response) -> Self {
        let mut headers = json!({ "content-type": "application/json", "cache-control": "no-store" });
        if let Some((name, value)) = response.header {
            headers[name] = value.into();
        }
        json!({ "statusCode": response.status, "headers": headers, "body": response.body.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_json_with_its_headers() {
        let sent = Value::from(Response::error(405, "no").with("allow", "GET"));
        assert_eq!(sent["statusCode"], 405);
        assert_eq!(sent["headers"]["content-type"], "application/json");
        assert_eq!(sent["headers"]["allow"], "GET");
        assert_eq!(sent["body"], r#"{"error":"no"}"#);
    }
}
