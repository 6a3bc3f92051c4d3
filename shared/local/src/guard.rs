//! Access control of an endpoint: admits programs that have its key, and refuses every request from a web page.
//!
//! Every user of the machine can reach 127.0.0.1, and so can every web page that one of them opens. A browser adds headers that
//! identify a page's request. Its `Host` header is the name under which the page found this machine, which defeats DNS rebinding.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{
        HeaderName, StatusCode, Uri,
        header::{AUTHORIZATION, HOST, ORIGIN},
        uri::{Authority, PathAndQuery},
    },
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
};
use serde_json::json;
use subtle::ConstantTimeEq as _;

use crate::key::Key;

/// The header with which a browser marks the origin of a request. Source: Fetch Metadata Request Headers.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// The header from which clients of JSON services read an error's type.
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
/// The accepted names of the loopback interface: the one in endpoints' URLs, and the one that people type.
const LOOPBACK: [&str; 2] = ["127.0.0.1", "localhost"];

/// The reason for refusing a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("requests from web pages are refused: this one has an `Origin` or a `Sec-Fetch-Site` header")]
    WebPage,
    #[error("the `Host` header must be 127.0.0.1 or localhost, with the port")]
    ForeignHost,
    #[error(
        "the path must begin with the key of this endpoint, which is new each time the endpoint is served"
    )]
    NoKey,
    #[error(
        "the request must be signed with the access key of this bucket, which is new each time the bucket is served"
    )]
    Unsigned,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let kind = "AccessDeniedException";
        let body = Json(json!({ "__type": kind, "message": self.to_string() }));
        (StatusCode::FORBIDDEN, [(ERROR_TYPE, kind)], body).into_response()
    }
}

/// Serves `inner` to programs that send the key as the first segment of the path. `inner` sees the path without it.
pub(crate) fn with_key(inner: Router, key: Key) -> Router {
    let admit = from_fn_with_state(key, async |State(key): State<Key>, mut request: Request, next: Next| {
        let admitted = is_program(&request).and_then(|()| without_key(&key, request.uri()));
        match admitted {
            Ok(uri) => {
                *request.uri_mut() = uri;
                next.run(request).await
            }
            Err(refusal) => refusal.into_response(),
        }
    });
    // A fallback: the path matches none of `inner`'s routes until the key is removed.
    Router::new().fallback_service(inner).layer(admit)
}

/// Serves `inner`, which verifies signatures itself, to programs that sign with this access key. Without this check `inner` may
/// answer unsigned requests for unknown operations.
pub(crate) fn with_signature(inner: Router, access_key_id: &str) -> Router {
    let id: Arc<str> = access_key_id.into();
    inner.layer(from_fn_with_state(id, async |State(id): State<Arc<str>>, request: Request, next: Next| {
        match is_program(&request).and_then(|()| is_signed(&request, &id)) {
            Ok(()) => next.run(request).await,
            Err(refusal) => refusal.into_response(),
        }
    }))
}

/// Checks that a request names this access key: in its header or, if it is presigned, in its query. Source: IAM User Guide,
/// "Signature Version 4".
fn is_signed(request: &Request, access_key_id: &str) -> Result<(), Refusal> {
    let header = request.headers().get(AUTHORIZATION).and_then(|header| header.to_str().ok());
    let in_header = header.and_then(|header| header.split_once("Credential=")).map(|(_, rest)| rest);
    let mut query = request.uri().query().unwrap_or_default().split('&');
    let credential = in_header.or_else(|| query.find_map(|it| it.strip_prefix("X-Amz-Credential=")));
    let id = credential.and_then(|credential| credential.split(['/', '%']).next()).unwrap_or_default();
    let is_own: bool = id.as_bytes().ct_eq(access_key_id.as_bytes()).into();
    is_own.then_some(()).ok_or(Refusal::Unsigned)
}

/// Checks that a request does not come from a web page.
fn is_program(request: &Request) -> Result<(), Refusal> {
    let headers = request.headers();
    if headers.contains_key(ORIGIN) || headers.contains_key(FETCH_SITE) {
        return Err(Refusal::WebPage);
    }
    let written = headers.get_all(HOST).iter().map(|host| Authority::try_from(host.as_bytes()).ok());
    let mut hosts = written.chain(request.uri().authority().cloned().map(Some)).peekable();
    // The port is not compared: a page cannot choose it, and a forwarded port differs.
    let is_loopback = |host: Option<Authority>| {
        host.is_some_and(|it| {
            !it.as_str().contains('@') && LOOPBACK.iter().any(|name| it.host().eq_ignore_ascii_case(name))
        })
    };
    let is_here = hosts.peek().is_some() && hosts.all(is_loopback);
    is_here.then_some(()).ok_or(Refusal::ForeignHost)
}

/// The URI of a request without the key, with which its path must begin.
fn without_key(key: &Key, uri: &Uri) -> Result<Uri, Refusal> {
    let path = uri.path().strip_prefix('/').unwrap_or_default();
    let (first, rest) = path.split_once('/').unwrap_or((path, ""));
    if !key.is(first.as_bytes()) {
        return Err(Refusal::NoKey);
    }
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    // It cannot fail: the parts come from a valid URI.
    let rest = PathAndQuery::try_from(format!("/{rest}{query}")).map_err(|_| Refusal::NoKey)?;
    Ok(Uri::from(rest))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn request(uri: &str, headers: &[(&str, &str)]) -> Request {
        let request = Request::builder().uri(uri);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.body(Body::empty()).unwrap()
    }

    #[test]
    fn a_request_from_a_web_page_is_recognised_by_its_headers() {
        let here = ("host", "127.0.0.1:4000");
        for (headers, wanted) in [
            (&[here][..], Ok(())),
            (&[("host", "localhost:4000")], Ok(())),
            (&[("host", "LocalHost:9")], Ok(())),
            (&[here, ("sec-fetch-mode", "cors")], Ok(())),
            (&[here, ("origin", "http://evil.example")], Err(Refusal::WebPage)),
            (&[here, ("origin", "null")], Err(Refusal::WebPage)),
            (&[here, ("origin", "http://127.0.0.1:4000")], Err(Refusal::WebPage)),
            (&[here, ("origin", "")], Err(Refusal::WebPage)),
            (&[here, ("sec-fetch-site", "cross-site")], Err(Refusal::WebPage)),
            (&[here, ("sec-fetch-site", "none")], Err(Refusal::WebPage)),
            (&[], Err(Refusal::ForeignHost)),
            (&[("host", "")], Err(Refusal::ForeignHost)),
            (&[("host", "evil.example")], Err(Refusal::ForeignHost)),
            (&[("host", "evil.example:4000")], Err(Refusal::ForeignHost)),
            (&[("host", "127.0.0.1.evil.example:4000")], Err(Refusal::ForeignHost)),
            (&[("host", "localhost.evil.example")], Err(Refusal::ForeignHost)),
            (&[("host", "localhost.:4000")], Err(Refusal::ForeignHost)),
            (&[("host", "127.0.0.1@evil.example")], Err(Refusal::ForeignHost)),
            (&[("host", "evil.example@127.0.0.1")], Err(Refusal::ForeignHost)),
            (&[("host", "0.0.0.0:4000")], Err(Refusal::ForeignHost)),
            (&[("host", "127.1:4000")], Err(Refusal::ForeignHost)),
            (&[("host", "2130706433:4000")], Err(Refusal::ForeignHost)),
            (&[here, ("host", "evil.example")], Err(Refusal::ForeignHost)),
        ] {
            assert_eq!(is_program(&request("/", headers)), wanted, "{headers:?}");
        }
        let absolute = request("http://evil.example/", &[here]);
        assert_eq!(is_program(&absolute), Err(Refusal::ForeignHost));
        assert_eq!(is_program(&request("http://127.0.0.1:4000/", &[here])), Ok(()));
    }

    #[test]
    fn a_signed_request_names_the_access_key() {
        let of = |credential: &str| format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host");
        let is_signed =
            |uri: &str, header: &str| is_signed(&request(uri, &[("authorization", header)]), "a1");
        for (uri, header) in [
            ("/", of("a1/20260101/us-east-1/s3/aws4_request")),
            ("/?x=y&X-Amz-Credential=a1/2026&z", String::new()),
            ("/?X-Amz-Credential=a1%2F2026", String::new()),
        ] {
            assert_eq!(is_signed(uri, &header), Ok(()), "{uri} {header}");
        }
        for (uri, header) in [
            ("/", String::new()),
            ("/", of("a1b/20260101")),
            ("/", of("/a1")),
            ("/?X-Amz-Credential=a1/2026", of("test/20260101")),
            ("/?X-Amz-Credential=a/1", String::new()),
            ("/a1", "a1".to_owned()),
        ] {
            assert_eq!(is_signed(uri, &header), Err(Refusal::Unsigned), "{uri} {header}");
        }
    }

    #[test]
    fn the_key_is_removed_from_the_path_and_nothing_else_changes() {
        let (key, other) = (Key::new().unwrap(), Key::new().unwrap());
        let key_text = key.as_str();
        let taken = |uri: &str| without_key(&key, &uri.parse().unwrap()).map(|uri| uri.to_string());
        for (rest, wanted) in [
            ("", "/"),
            ("/", "/"),
            ("/a/b%2Fc?d=/e&f", "/a/b%2Fc?d=/e&f"),
            ("?a", "/?a"),
            ("//evil.example/a", "//evil.example/a"),
        ] {
            assert_eq!(taken(&format!("/{key_text}{rest}")).as_deref(), Ok(wanted), "{rest}");
        }
        let wrong = [
            "/".to_owned(),
            "/a".to_owned(),
            format!("//{key_text}/a"),
            format!("/a/{key_text}"),
            format!("/{key_text}a/"),
            format!("/%6bey-{}", &key_text[4..]),
            format!("/?{key_text}"),
            format!("/{}/", other.as_str()),
        ];
        for uri in wrong {
            assert_eq!(taken(&uri), Err(Refusal::NoKey), "{uri}");
        }
    }
}
