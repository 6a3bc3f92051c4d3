//! Single objects of one bucket, in S3: put, got back whole, and deleted.
//!
//! The requests are signed here, and sent through the machinery that all SDK clients share. S3's own SDK would be a
//! third of a task's binary, for two requests that few tasks ever make.

use std::time::{Duration, SystemTime};

use aws_config::{BehaviorVersion, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_dynamodb::config::ProvideCredentials;
use aws_sigv4::{
    http_request::{
        PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
        UriPathNormalizationMode, sign,
    },
    sign::v4,
};
use aws_smithy_runtime::client::{
    orchestrator::operation::Operation,
    retries::classifiers::{HttpStatusCodeClassifier, TransientErrorClassifier},
};
use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::orchestrator::{HttpRequest, HttpResponse, OrchestratorError},
};
use aws_smithy_types::body::SdkBody;
use aws_types::service_config::ServiceConfigKey;

use crate::clients::cause;

/// The number of attempts of a request. Network errors, server errors and throttling are retried.
const ATTEMPTS: u32 = 3;
/// The maximum pause before the first retry.
const BACKOFF: Duration = Duration::from_millis(200);
/// The timeout of making a connection.
const CONNECT: Duration = Duration::from_secs(2);
/// The timeout of one attempt, beside the time for its bytes.
const ATTEMPT: Duration = Duration::from_secs(4);
/// The bytes per second of a slow connection.
const SLOW: u64 = 500_000;

/// The objects of one bucket. Creating it costs nothing: credentials are resolved for each request.
#[derive(Clone, Debug)]
pub struct Objects {
    bucket: String,
    config: SdkConfig,
}

/// A failed request for an object.
#[derive(Debug, thiserror::Error)]
#[error("bucket `{bucket}`: {what} `{key}`: {cause}")]
pub struct ObjectsError {
    /// The bucket.
    pub bucket: String,
    /// The operation.
    pub what: &'static str,
    /// The object's key.
    pub key: String,
    /// The error of S3 or the network.
    pub cause: String,
}

/// The error response of S3.
#[derive(Debug, thiserror::Error)]
#[error("status {status}{said}")]
struct Refused {
    status: u16,
    said: String,
}

/// A request for an object.
struct ObjectRequest<'a> {
    what: &'static str,
    method: &'static str,
    key: &'a str,
    body: Vec<u8>,
    /// The number of bytes that are sent or received.
    bytes: u64,
}

impl Objects {
    /// The objects of a bucket. `config` has the region, the credentials and the endpoint. If the endpoint is not
    /// AWS's, the bucket is in the path of the URL.
    pub fn new(bucket: impl Into<String>, config: &SdkConfig) -> Self {
        Self { bucket: bucket.into(), config: config.clone() }
    }

    /// The bucket's name.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Puts an object. The key is of letters, digits and `-`, `_`, `.`, `/` only.
    pub async fn put(&self, key: &str, body: Vec<u8>) -> Result<(), ObjectsError> {
        let bytes = body.len() as u64;
        self.send(ObjectRequest { what: "put", method: "PUT", key, body, bytes }).await.map(|_| ())
    }

    /// Gets an object. `bytes` is its approximate size, by which the timeout is extended.
    pub async fn get(&self, key: &str, bytes: u64) -> Result<Vec<u8>, ObjectsError> {
        self.send(ObjectRequest { what: "get", method: "GET", key, body: Vec::new(), bytes }).await
    }

    /// Deletes an object. One that is not there counts as deleted.
    pub async fn delete(&self, key: &str) -> Result<(), ObjectsError> {
        let wanted = ObjectRequest { what: "delete", method: "DELETE", key, body: Vec::new(), bytes: 0 };
        self.send(wanted).await.map(drop)
    }

    async fn send(&self, wanted: ObjectRequest<'_>) -> Result<Vec<u8>, ObjectsError> {
        let failed = |cause: String| ObjectsError {
            bucket: self.bucket.clone(),
            what: wanted.what,
            key: wanted.key.to_owned(),
            cause,
        };
        let (endpoint, request) = self.signed(&wanted).await.map_err(|error| failed(cause(&*error)))?;
        let attempt = ATTEMPT + Duration::from_secs(wanted.bytes / SLOW);
        let timeouts =
            TimeoutConfig::builder().connect_timeout(CONNECT).operation_attempt_timeout(attempt).build();
        let retries = RetryConfig::standard().with_max_attempts(ATTEMPTS).with_initial_backoff(BACKOFF);
        let operation = Operation::builder()
            .service_name("s3")
            .operation_name(wanted.what)
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(&endpoint)
            .no_auth()
            .standard_retry(&retries)
            .retry_classifier(TransientErrorClassifier::<Refused>::new())
            .retry_classifier(HttpStatusCodeClassifier::default())
            .timeout_config(timeouts)
            .serializer(|request: HttpRequest| Ok(request))
            .deserializer(answer);
        let operation = match self.config.http_client() {
            Some(client) => operation.http_client(client),
            None => operation,
        };
        // Boxed, so that the callers' futures stay small.
        Box::pin(operation.build().invoke(request)).await.map_err(|error| failed(cause(&error)))
    }

    /// The endpoint, and the request for it with a signature.
    async fn signed(&self, wanted: &ObjectRequest<'_>) -> Result<(String, HttpRequest), BoxError> {
        let region = self.config.region().ok_or("no region is set, such as by AWS_REGION")?.as_ref();
        let provider = self.config.credentials_provider().ok_or("there are no credentials")?;
        let identity = provider.provide_credentials().await?.into();
        let (endpoint, folder) = self.place(region);
        let path = format!("{folder}/{}", wanted.key);
        let mut settings = SigningSettings::default();
        // Source: Amazon S3 User Guide, "Authenticating Requests: Using the Authorization Header".
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name("s3")
            .time(SystemTime::now())
            .settings(settings)
            .build()?
            .into();
        let url = format!("{endpoint}{path}");
        let signable =
            SignableRequest::new(wanted.method, url, std::iter::empty(), SignableBody::Bytes(&wanted.body))?;
        let (instructions, _) = sign(signable, &params)?.into_parts();
        let mut request = HttpRequest::new(SdkBody::from(wanted.body.clone()));
        request.set_method(wanted.method)?;
        request.set_uri(path)?;
        for (name, value) in instructions.headers() {
            request.headers_mut().try_insert(name.to_owned(), value.to_owned())?;
        }
        Ok((endpoint, request))
    }

    /// Returns the endpoint, and the path below which it has the bucket's keys.
    fn place(&self, region: &str) -> (String, String) {
        if let Some(own) = self.own_endpoint() {
            let (host, folder) = split(own.trim_end_matches('/'));
            return (host.to_owned(), format!("{folder}/{}", self.bucket));
        }
        let fips = if self.config.use_fips() == Some(true) { "-fips" } else { "" };
        let stack = if self.config.use_dual_stack() == Some(true) { ".dualstack" } else { "" };
        let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        let host = format!("s3{fips}{stack}.{region}.{domain}");
        if self.bucket.contains('.') {
            // A bucket's name with dots does not match AWS's wildcard certificate.
            (format!("https://{host}"), format!("/{}", self.bucket))
        } else {
            (format!("https://{}.{host}", self.bucket), String::new())
        }
    }

    /// The endpoint that the environment or the profile gives instead of AWS's, as for every SDK client.
    fn own_endpoint(&self) -> Option<String> {
        let key = ServiceConfigKey::builder()
            .service_id("S3")
            .env("AWS_ENDPOINT_URL")
            .profile("endpoint_url")
            .build()
            .ok()?;
        let of_s3 = self.config.service_config().and_then(|service| service.load_config(key));
        of_s3.or_else(|| self.config.endpoint_url().map(str::to_owned))
    }
}

/// An endpoint's scheme and host, and its path if it has one.
fn split(endpoint: &str) -> (&str, &str) {
    let host = endpoint.find("://").map_or(0, |at| at + 3);
    let path = endpoint[host..].find('/').map_or(endpoint.len(), |at| host + at);
    endpoint.split_at(path)
}

/// Returns the content of S3's response, or its error.
fn answer(response: &HttpResponse) -> Result<Vec<u8>, OrchestratorError<Refused>> {
    let content = response.body().bytes().unwrap_or_default();
    let status = response.status();
    if status.is_success() {
        return Ok(content.to_vec());
    }
    let text = String::from_utf8_lossy(content);
    let words = ["Code", "Message"].map(|tag| element(&text, tag));
    let said = words.into_iter().flatten().fold(String::new(), |said, word| said + ": " + word);
    Err(OrchestratorError::operation(Refused { status: status.as_u16(), said }))
}

/// The text of the first XML element of that name.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text)
}

#[cfg(test)]
mod tests {
    use aws_config::Region;

    use super::*;

    fn place(bucket: &str, region: &'static str, endpoint: Option<&str>) -> String {
        let mut config = SdkConfig::builder().region(Region::new(region));
        config.set_endpoint_url(endpoint.map(str::to_owned));
        let (endpoint, folder) = Objects::new(bucket, &config.build()).place(region);
        format!("{endpoint} {folder}")
    }

    #[test]
    fn a_buckets_address_comes_from_its_region_or_endpoint() {
        for (bucket, region, endpoint, expected) in [
            ("shop", "eu-west-1", None, "https://shop.s3.eu-west-1.amazonaws.com "),
            ("shop", "cn-north-1", None, "https://shop.s3.cn-north-1.amazonaws.com.cn "),
            ("shop.example", "eu-west-1", None, "https://s3.eu-west-1.amazonaws.com /shop.example"),
            ("shop", "eu-west-1", Some("http://127.0.0.1:9000"), "http://127.0.0.1:9000 /shop"),
            ("shop", "eu-west-1", Some("https://s3.example/a/"), "https://s3.example /a/shop"),
        ] {
            assert_eq!(place(bucket, region, endpoint), expected);
        }
    }

    #[test]
    fn an_error_of_s3_is_passed_on() {
        let said = |status: u16, body: &'static str| {
            let response = HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body));
            answer(&response).unwrap_err().as_operation_error().unwrap().to_string()
        };
        let missing =
            "<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code><Message>It is gone.</Message></Error>";
        assert_eq!(said(404, missing), "status 404: NoSuchKey: It is gone.");
        assert_eq!(said(503, "busy"), "status 503");
    }
}
