//! SDK clients, created at first use, so that a cold start pays only for the clients that it uses.

use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig, timeout::TimeoutConfig};
use aws_credential_types::provider::error::CredentialsError;
pub use aws_sdk_dynamodb::Client as DynamoDb;
use aws_sdk_dynamodb::config::{
    Credentials, SharedCredentialsProvider, StalledStreamProtectionConfig, retry::RetryConfig,
};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn},
    interceptors::context::InterceptorContext,
    orchestrator::HttpRequest,
    result::ConnectorError,
    retries::classifiers::{ClassifyRetry, RetryAction},
};
use aws_smithy_types::error::ErrorMetadata;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use rustls::pki_types::CertificateDer;
use tokio::sync::OnceCell;

use crate::authorities::{self, AuthoritiesError};
#[cfg(feature = "s3")]
use crate::environment::single::variable;

/// The roots that sign the certificates of AWS's own endpoints. Source: Amazon Trust Services repository, its
/// five root certificates.
const AMAZON_ROOTS: &str = include_str!("amazon-trust-services.pem");

/// The timeout of one attempt of a request to DynamoDB, which answers within milliseconds or not at all.
const DYNAMODB_TIMEOUT: Duration = Duration::from_secs(10);

/// Makes the SDK retry a single write that conflicts with a transaction. By default the SDK retries throttling, but not
/// this error. Source: DynamoDB Developer Guide, "Transaction conflict handling in DynamoDB".
#[derive(Debug)]
struct Conflicts;

impl ClassifyRetry for Conflicts {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let refused = context.response().filter(|response| response.status().as_u16() == 400);
        let body = refused.and_then(|response| response.body().bytes()).unwrap_or_default();
        let conflict = b"TransactionConflictException\"";
        if body.windows(conflict.len()).any(|part| part == conflict) {
            RetryAction::throttling_error()
        } else {
            RetryAction::NoActionIndicated
        }
    }

    fn name(&self) -> &'static str {
        "Lamplighter's conflicts"
    }
}

/// The account and region, where they differ from those of the environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The profile of AWS's shared files. Left out: that of the environment.
    pub profile: Option<String>,
    /// The region. Left out: that of the environment, or of the profile.
    pub region: Option<String>,
}

/// The clients of one process.
#[derive(Debug, Default)]
pub struct Clients {
    account: Account,
    config: OnceCell<SdkConfig>,
    dynamodb: OnceCell<aws_sdk_dynamodb::Client>,
    #[cfg(feature = "s3")]
    s3: OnceCell<aws_sdk_s3::Client>,
}

impl Clients {
    /// The clients for an account. [`Clients::default`] uses the account of the environment.
    pub fn of(account: Account) -> Self {
        Self { account, ..Self::default() }
    }

    /// The clients for local services at `endpoint`, such as `http://127.0.0.1:8000`.
    pub fn local(endpoint: &str) -> Self {
        Self { config: OnceCell::new_with(Some(local_config(endpoint))), ..Self::default() }
    }

    /// The DynamoDB client.
    pub async fn dynamodb(&self) -> &aws_sdk_dynamodb::Client {
        let make = async || {
            let timeouts = TimeoutConfig::builder().operation_attempt_timeout(DYNAMODB_TIMEOUT).build();
            let config = aws_sdk_dynamodb::config::Builder::from(self.config().await)
                .timeout_config(timeouts)
                .retry_classifier(Conflicts);
            aws_sdk_dynamodb::Client::from_conf(config.build())
        };
        self.dynamodb.get_or_init(make).await
    }

    /// The S3 client. A local endpoint has no host name for each bucket, so there the bucket is in the path of the URL.
    #[cfg(feature = "s3")]
    pub async fn s3(&self) -> &aws_sdk_s3::Client {
        let make = async || {
            let config = self.config().await;
            let local = has_local_endpoint("S3");
            aws_sdk_s3::Client::from_conf(
                aws_sdk_s3::config::Builder::from(config).force_path_style(local).build(),
            )
        };
        self.s3.get_or_init(make).await
    }

    /// The configuration that all clients share: region, credentials and endpoint as the environment says.
    pub async fn config(&self) -> &SdkConfig {
        let load = async || {
            let loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http_client());
            let Account { profile, region } = self.account.clone();
            let loader = profile.into_iter().fold(loader, aws_config::ConfigLoader::profile_name);
            region.map(Region::new).into_iter().fold(loader, aws_config::ConfigLoader::region).load().await
        };
        self.config.get_or_init(load).await
    }
}

/// The configuration of clients for a local service at `endpoint`, such as `http://127.0.0.1:8000`. The service accepts
/// any credentials.
pub fn local_config(endpoint: &str) -> SdkConfig {
    signed_config(endpoint, "test", "test")
}

/// The configuration of clients for a local service at `endpoint`, with these credentials.
pub fn signed_config(endpoint: &str, access_key_id: &str, secret_access_key: &str) -> SdkConfig {
    let credentials = Credentials::new(access_key_id, secret_access_key, None, None, "local");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(endpoint)
        .http_client(Builder::new().build_http())
        .build()
}

/// A DynamoDB client for a local engine at `endpoint`. It retries for some seconds, since another process may be about to serve
/// the engine in the place of one that has ended.
pub fn local_dynamodb(endpoint: &str) -> aws_sdk_dynamodb::Client {
    let retries = RetryConfig::standard()
        .with_max_attempts(10)
        .with_initial_backoff(Duration::from_millis(50))
        .with_max_backoff(Duration::from_secs(1));
    let config = aws_sdk_dynamodb::config::Builder::from(&local_config(endpoint)).retry_config(retries);
    aws_sdk_dynamodb::Client::from_conf(config.build())
}

/// A DynamoDB client for an engine in this process, which receives the requests through `http`. The requests are not
/// signed, and a failed request is not retried.
pub fn direct_dynamodb(http: SharedHttpClient) -> aws_sdk_dynamodb::Client {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url("http://127.0.0.1")
        .allow_no_auth()
        .retry_config(RetryConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .http_client(http)
        .build();
    aws_sdk_dynamodb::Client::from_conf(config)
}

/// Returns the text of an SDK error: the service's message and code if there are any, otherwise the error and its
/// causes, without repetitions. If the credentials are missing or refused, the text also states a remedy.
///
/// The text contains neither the SDK's text for an unknown error (`unhandled error (AccessDenied): Error { .. }`) nor
/// that of `DisplayErrorContext`, which adds the whole response. Both are unreadable in a stack's event.
pub(crate) fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    let chain = || std::iter::successors(Some(error), |error| error.source());
    if let Some(error) = chain().find_map(|error| error.downcast_ref::<CredentialsError>()) {
        return missing_credentials(error);
    }
    let metadata = chain().find_map(|error| error.downcast_ref::<ErrorMetadata>());
    if let Some((message, code)) = metadata.and_then(|it| Some((it.message()?, it.code()?))) {
        let said = format!("{} ({code})", message.trim_end_matches('.'));
        return match remedy(code) {
            Some(remedy) => format!("{said}: {remedy}"),
            None => said,
        };
    }
    if let Some(code) = metadata.and_then(ErrorMetadata::code) {
        return code.to_owned();
    }
    let mut said = String::new();
    for error in chain() {
        let message = error.to_string();
        if message == "service error" || said.contains(&message) {
            continue;
        }
        said = if said.is_empty() { message } else { format!("{said}: {message}") };
    }
    said
}

/// Says that no credentials were found, or why they cannot be loaded, and what to do.
fn missing_credentials(error: &CredentialsError) -> String {
    if matches!(error, CredentialsError::CredentialsNotLoaded(_)) {
        return format!("no AWS credentials were found: {PROFILE}, or {SIGN_IN}");
    }
    let chain = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    let first = chain.last().unwrap_or(error).to_string();
    format!(
        "the AWS credentials cannot be loaded: {}: check the profile, or {SIGN_IN}",
        first.trim_end_matches('.')
    )
}

/// How to choose credentials.
const PROFILE: &str = "name a profile of ~/.aws/config with --profile or AWS_PROFILE";
/// How to get credentials.
const SIGN_IN: &str = "sign in, for example with `aws sso login`";

/// Returns what to do about a refusal of the credentials. Sources: the "Common Errors" of the services' API References, and the
/// error responses of Amazon S3.
fn remedy(code: &str) -> Option<&'static str> {
    match code {
        "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" => Some(SIGN_IN),
        "InvalidAccessKeyId"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "UnrecognizedClientException" => Some("check the profile and its credentials"),
        "RequestExpired" | "RequestTimeTooSkewed" => Some("set this machine's clock"),
        _ => None,
    }
}

/// Returns true if the environment names an endpoint without TLS for the service, as local ones are.
#[cfg(feature = "s3")]
fn has_local_endpoint(service: &str) -> bool {
    [format!("AWS_ENDPOINT_URL_{service}"), "AWS_ENDPOINT_URL".to_owned()]
        .iter()
        .any(|name| matches!(variable(name), Ok(Some(url)) if url.starts_with("http://")))
}

/// The HTTP client of all SDK clients.
fn http_client() -> SharedHttpClient {
    let in_lambda = std::env::var_os("AWS_LAMBDA_FUNCTION_NAME").is_some();
    match authorities::named() {
        Ok(named) => trusting(in_lambda, named),
        Err(error) => refusing(error),
    }
}

/// A client that trusts the authorities that the environment names.
///
/// In Lambda the only other certificates that it trusts are the roots of AWS's own endpoints: reading the machine's
/// certificate store takes most of the time to create a client. Elsewhere the client trusts that store.
fn trusting(in_lambda: bool, named: &[CertificateDer<'_>]) -> SharedHttpClient {
    let mut trust = if in_lambda {
        TrustStore::empty().with_pem_certificate(AMAZON_ROOTS)
    } else {
        TrustStore::default()
    };
    for certificate in named {
        trust = trust.with_pem_certificate(pem(certificate));
    }
    let builder = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring));
    match TlsContext::builder().with_trust_store(trust).build() {
        Ok(context) => builder.tls_context(context).build_https(),
        // A certificate does not parse: the client trusts the machine's certificate store only.
        Err(_) => builder.build_https(),
    }
}

fn pem(certificate: &CertificateDer<'_>) -> String {
    let text = BASE64_STANDARD.encode(certificate);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

/// A client whose requests all fail, since its trusted authorities are unknown.
fn refusing(error: AuthoritiesError) -> SharedHttpClient {
    http_client_fn(move |_, _| SharedHttpConnector::new(Refusing(error.clone())))
}

#[derive(Debug)]
struct Refusing(AuthoritiesError);

impl HttpConnector for Refusing {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::ready(Err(ConnectorError::user(self.0.clone().into())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_credentials_are_reported_with_a_remedy() {
        let refused = |code: &str| {
            let metadata = ErrorMetadata::builder().code(code).message("The token is expired.").build();
            cause(&metadata)
        };
        let expected = "The token is expired (ExpiredToken): sign in, for example with `aws sso login`";
        assert_eq!(refused("ExpiredToken"), expected);
        assert!(refused("UnrecognizedClientException").ends_with(": check the profile and its credentials"));
        assert_eq!(refused("AccessDenied"), "The token is expired (AccessDenied)");
        let missing = cause(&CredentialsError::not_loaded("none of the providers has any"));
        assert_eq!(missing, format!("no AWS credentials were found: {PROFILE}, or {SIGN_IN}"));
        let broken = CredentialsError::invalid_configuration("the profile `x` refers to itself.");
        let expected = "the AWS credentials cannot be loaded: the profile `x` refers to itself: check the profile, or sign in";
        assert!(cause(&broken).starts_with(expected), "{}", cause(&broken));
    }

    #[tokio::test]
    async fn authorities_that_cannot_be_read_are_named_by_each_request() {
        let error = authorities::read(|name| (name == "AWS_CA_BUNDLE").then(|| "/no/such.pem".into()));
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .http_client(refusing(error.unwrap_err()))
            .build();
        let refused = aws_sdk_dynamodb::Client::from_conf(config).list_tables().send().await.unwrap_err();
        let said = cause(&refused);
        assert!(said.contains("AWS_CA_BUNDLE is `/no/such.pem`, which cannot be read"), "{said}");
    }
}
