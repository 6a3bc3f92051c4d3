//! Requests the application's pages after an update, so that its first visitors find warm caches.

use std::{
    error::Error,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use lamplighter::prelude::*;
use reqwest::{Client, StatusCode, Url};

/// The task's configuration. `[tasks.<name>.config]` in lamplighter.toml overrides it.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The URLs to request, `http://` or `https://`.
    pub urls: Vec<String>,
    /// The number of concurrent requests.
    #[schemars(range(min = 1))]
    pub concurrency: usize,
    /// The expected status of every response. By default any of 200 to 299.
    #[schemars(range(min = 100, max = 599))]
    pub expect_status: Option<u16>,
    /// The timeout of one request, in milliseconds.
    #[schemars(range(min = 1))]
    pub timeout_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { urls: Vec::new(), concurrency: 8, expect_status: None, timeout_ms: 10_000 }
    }
}

/// The response of one URL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// The URL.
    pub url: String,
    /// The status, if there was a response.
    pub status: Option<u16>,
    /// The reason why the response is not as expected.
    pub fault: Option<String>,
    /// The time from the request to the end of the response, in milliseconds.
    pub ms: u64,
}

/// Requests the configured URLs of the updated application.
#[task(phase = After, timeout = "2m", validate = valid)]
pub async fn warm_cache(ctx: Context<Config>) -> TaskResult {
    if ctx.config.urls.is_empty() {
        return Ok(Outcome::success("no endpoints are configured"));
    }
    let answers = warm(&ctx.config).await?;
    for answer in &answers {
        tracing::info!(url = answer.url, status = answer.status, ms = answer.ms, "requested {}", answer.url);
    }
    if let Some(message) = faults(&answers) {
        // An application that was just updated may need another moment, so this is retried.
        return Err(TaskError::new(message));
    }
    Outcome::success(format!("warmed {} endpoints", answers.len())).with_data(&answers)
}

fn valid(ctx: &Context<Config>) -> Validity {
    ctx.config.check()
}

impl Config {
    /// Validates the configuration. An error names the key.
    pub fn check(&self) -> Validity {
        if self.concurrency == 0 {
            return Err("concurrency is 0: it must be at least 1".into());
        }
        if self.timeout_ms == 0 {
            return Err("timeout_ms is 0: it must be at least 1".into());
        }
        for url in &self.urls {
            let parsed = Url::parse(url).map_err(|error| format!("urls has `{url}`: {error}"))?;
            if !matches!(parsed.scheme(), "http" | "https") {
                return Err(format!("urls has `{url}`: it must begin with http:// or https://"));
            }
        }
        Ok(())
    }
}

/// Requests all URLs. The responses are in the order of the configuration.
pub async fn warm(config: &Config) -> Result<Vec<Answer>, reqwest::Error> {
    let client = Client::builder()
        .user_agent(concat!("lamplighter-warm-cache/", env!("CARGO_PKG_VERSION")))
        .timeout(Duration::from_millis(config.timeout_ms))
        .build()?;
    let requests = config.urls.iter().cloned().map(|url| request(&client, url, config.expect_status));
    Ok(stream::iter(requests).buffered(config.concurrency.max(1)).collect().await)
}

async fn request(client: &Client, url: String, expected: Option<u16>) -> Answer {
    let begun = Instant::now();
    let answered = async {
        let response = client.get(&url).send().await?;
        let status = response.status();
        // Only a complete response fills the caches on its way.
        response.bytes().await.map(|_| status)
    };
    let (status, fault) = match answered.await {
        Ok(status) if is_expected(status, expected) => (Some(status.as_u16()), None),
        Ok(status) => {
            let wanted = expected.map_or("200 to 299".to_owned(), |expected| expected.to_string());
            (Some(status.as_u16()), Some(format!("{} instead of {wanted}", status.as_u16())))
        }
        Err(error) => (None, Some(reason(&error))),
    };
    let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    Answer { url, status, fault, ms }
}

fn is_expected(status: StatusCode, expected: Option<u16>) -> bool {
    expected.map_or(status.is_success(), |expected| status.as_u16() == expected)
}

/// Returns the innermost cause; the errors around it repeat the URL.
fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no response within the timeout".to_owned();
    }
    let mut cause: &dyn Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// Returns the unexpected responses in one line, or `None` if there are none.
fn faults(answers: &[Answer]) -> Option<String> {
    let faults: Vec<_> = answers
        .iter()
        .filter_map(|answer| answer.fault.as_ref().map(|fault| format!("{}: {fault}", answer.url)))
        .collect();
    (!faults.is_empty())
        .then(|| format!("{} of {} endpoints failed: {}", faults.len(), answers.len(), faults.join("; ")))
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use axum::{Router, http::StatusCode, routing::get};
    use tokio::net::TcpListener;

    use super::*;

    /// Serves a few pages and returns their base address.
    async fn site(router: Router) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async { axum::serve(listener, router).await });
        format!("http://{address}")
    }

    fn config(urls: Vec<String>) -> Config {
        Config { urls, ..Config::default() }
    }

    #[tokio::test]
    async fn all_pages_are_requested_and_failed_ones_are_named() {
        let router = Router::new()
            .route("/", get(|| async { "home" }))
            .route("/empty", get(|| async { StatusCode::NO_CONTENT }))
            .route("/down", get(|| async { StatusCode::SERVICE_UNAVAILABLE }))
            .route("/slow", get(std::future::pending::<()>));
        let site = site(router).await;
        let urls = ["/", "/empty"].map(|page| format!("{site}{page}"));
        let answers = warm(&config(urls.to_vec())).await.unwrap();
        let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
        assert_eq!((statuses, faults(&answers)), (vec![Some(200), Some(204)], None));

        let slow = Config { timeout_ms: 200, ..config(vec![format!("{site}/slow")]) };
        let message = faults(&warm(&slow).await.unwrap()).unwrap();
        assert!(message.contains("/slow: no response within the timeout"), "{message}");

        let mut urls = ["/", "/down", "/nowhere"].map(|page| format!("{site}{page}")).to_vec();
        // Port 1 of loopback has no listener.
        urls.push("http://127.0.0.1:1/".to_owned());
        let answers = warm(&config(urls)).await.unwrap();
        let message = faults(&answers).unwrap();
        assert!(message.starts_with("3 of 4 endpoints failed: "), "{message}");
        for fault in [
            "/down: 503 instead of 200 to 299",
            "/nowhere: 404 instead of 200 to 299",
            "http://127.0.0.1:1/: Connection refused",
        ] {
            assert!(message.contains(fault), "{message}");
        }

        let only = Config { expect_status: Some(404), ..config(vec![format!("{site}/nowhere")]) };
        assert_eq!(faults(&warm(&only).await.unwrap()), None);
    }

    #[tokio::test]
    async fn concurrent_requests_are_limited() {
        let [at_once, most] = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
        let seen = Arc::clone(&most);
        let page = move || {
            let (at_once, seen) = (Arc::clone(&at_once), Arc::clone(&seen));
            async move {
                seen.fetch_max(at_once.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(20)).await;
                at_once.fetch_sub(1, Ordering::SeqCst);
            }
        };
        let site = site(Router::new().route("/", get(page))).await;
        let answers = warm(&Config { concurrency: 3, ..config(vec![site; 12]) }).await.unwrap();
        assert_eq!((answers.len(), faults(&answers)), (12, None));
        assert_eq!(most.load(Ordering::SeqCst), 3);
    }

    #[test]
    fn an_invalid_configuration_is_rejected_with_its_key() {
        assert_eq!(Config::default().check(), Ok(()));
        assert_eq!(config(vec!["https://example.com/".into()]).check(), Ok(()));
        for (config, key) in [
            (config(vec!["example.com".into()]), "urls has `example.com`"),
            (config(vec!["ftp://example.com".into()]), "urls has `ftp://example.com`"),
            (Config { concurrency: 0, ..Config::default() }, "concurrency is 0"),
            (Config { timeout_ms: 0, ..Config::default() }, "timeout_ms is 0"),
        ] {
            assert!(config.check().unwrap_err().starts_with(key));
        }
    }
}
