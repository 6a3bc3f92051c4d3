//! O06: requests to each endpoint from a web page, and from another user of the machine.

use std::time::Duration;

use lamplighter_local::{Answers, Bucket, Engine, Key, Stacks, Synchronous};

use crate::{
    http::{send, send_to, split},
    probe::{host_with, json, probe},
    table::reopened,
};

/// An endpoint and a request that it answers.
struct Tried<'a> {
    /// The URL with the key.
    url: String,
    method: &'a str,
    path: &'a str,
    headers: &'a str,
    body: &'a str,
    /// The status for a program that has the key.
    status: u16,
}

impl Tried<'_> {
    fn at(&self, url: &str) -> String {
        format!("{url}{}", self.path)
    }

    /// The same endpoint without its key, or with another key.
    fn with(&self, key: &str) -> String {
        let (address, _) = split(&self.url);
        let key = if key.is_empty() { String::new() } else { format!("/{key}") };
        self.at(&format!("http://{address}{key}"))
    }

    /// The statuses for a web page that knows the key, each with the request.
    async fn as_a_page(&self) -> Vec<(u16, String)> {
        let url = self.at(&self.url);
        let (address, _) = split(&url);
        let port = address.split_once(':').unwrap().1;
        let mut got = Vec::new();
        for headers in [
            "origin: http://evil.example\r\n",
            "origin: null\r\ncontent-type: text/plain\r\n",
            "sec-fetch-site: cross-site\r\n",
            "Sec-Fetch-Site: same-site\r\nSec-Fetch-Mode: no-cors\r\n",
        ] {
            let all = format!("{}{headers}", self.headers);
            got.push((send(self.method, &url, &all, self.body.as_bytes()).await, headers.to_owned()));
        }
        let preflight = "origin: http://evil.example\r\naccess-control-request-method: POST\r\n";
        got.push((send("OPTIONS", &url, preflight, b"").await, "a preflight".to_owned()));
        for host in [
            "evil.example".to_owned(),
            format!("evil.example:{port}"),
            format!("127.0.0.1.evil.example:{port}"),
        ] {
            got.push((send_to(&host, self.method, &url, self.headers, self.body.as_bytes()).await, host));
        }
        got
    }

    /// The statuses for a program without the key, with the keys `former`, and with a wrong key.
    async fn as_another_user(&self, former: &[&str]) -> Vec<(u16, String)> {
        let wrong = Key::new().unwrap();
        let keys = [&["", "key-", wrong.as_str()], former].concat();
        let mut got = Vec::new();
        for key in keys {
            let status = send(self.method, &self.with(key), self.headers, self.body.as_bytes()).await;
            got.push((status, format!("the key `{key}`")));
        }
        got
    }
}

/// The key in an endpoint's URL.
fn key_of(url: &str) -> String {
    split(url).1.split('/').next().unwrap().to_owned()
}

#[tokio::test]
async fn o06_an_endpoint_answers_only_programs_that_have_its_key() {
    let former = key_of(&Engine::memory().unwrap().serve().await.unwrap());
    let (engine, stacks, answers) =
        (Engine::memory().unwrap(), Stacks::serve().await.unwrap(), Answers::serve().await.unwrap());
    let (host, lines) = host_with([probe("f")]).await;
    let process = json(&host.invoke("f", "").await.unwrap());
    let runtime = process["environment"]["AWS_LAMBDA_RUNTIME_API"].as_str().unwrap().to_owned();
    let expected = answers.expect().unwrap();
    let answer_path = expected.url.strip_prefix(&answers.endpoint()).unwrap().to_owned();
    let list_tables =
        "x-amz-target: DynamoDB_20120810.ListTables\r\ncontent-type: application/x-amz-json-1.0\r\n";
    let form = "content-type: application/x-www-form-urlencoded\r\n";
    let table = engine.serve().await.unwrap();
    let tried =
        |url: String, method, path, headers, body, status| Tried { url, method, path, headers, body, status };
    let all = [
        tried(table.clone(), "POST", "/", list_tables, "{}", 200),
        tried(table, "GET", "/", "", "", 200),
        tried(host.endpoint(), "POST", "/2015-03-31/functions/f/invocations", "", r#"{"op":"print"}"#, 200),
        tried(host.endpoint(), "GET", "/2015-03-31/functions/f/configuration", "", "", 200),
        tried(stacks.endpoint(), "POST", "/", form, "Action=DescribeStacks", 200),
        tried(answers.endpoint(), "PUT", &answer_path, "", "{}", 200),
        // A response to an unknown invocation, which the process itself never sends.
        tried(runtime, "POST", "/2018-06-01/runtime/invocation/none/response", "", "{}", 400),
    ];
    let keys: Vec<_> = all.iter().map(|tried| key_of(&tried.url)).collect();
    for tried in &all {
        let own = key_of(&tried.url);
        let others: Vec<_> = keys.iter().filter(|key| **key != own).map(String::as_str).collect();
        let former = [&[former.as_str()], &others[..]].concat();
        let refused = [tried.as_a_page().await, tried.as_another_user(&former).await].concat();
        for (status, how) in refused {
            assert_eq!(status, 403, "{}, {how}", tried.path);
        }
    }
    assert!(!lines.all().iter().any(|line| line.line.contains("to stdout")), "the function has not run");
    assert_eq!(expected.received(), []);
    for tried in &all {
        let status = send(tried.method, &tried.at(&tried.url), tried.headers, tried.body.as_bytes()).await;
        assert_eq!(status, tried.status, "{}", tried.path);
    }
    lines.containing("to stdout").await;
    assert_eq!(expected.received().len(), 1);
}

#[tokio::test]
async fn o06_no_other_program_takes_an_event_of_a_function_or_answers_it() {
    let (host, _) = host_with([probe("f")]).await;
    let seen = json(&host.invoke("f", "").await.unwrap());
    let runtime = seen["environment"]["AWS_LAMBDA_RUNTIME_API"].as_str().unwrap();
    let (address, _) = split(runtime);
    let running = tokio::spawn({
        let host = std::sync::Arc::clone(&host);
        async move { host.invoke("f", r#"{"op":"sleep","ms":300}"#).await.unwrap() }
    });
    let begun = async {
        loop {
            match host.in_progress().first() {
                Some(running) => break running.request_id.clone(),
                None => tokio::task::yield_now().await,
            }
        }
    };
    let id = tokio::time::timeout(Duration::from_secs(10), begun).await.expect("it does not begin");
    for (method, path) in [
        ("GET", "invocation/next".to_owned()),
        ("POST", format!("invocation/{id}/response")),
        ("POST", format!("invocation/{id}/error")),
        ("POST", "init/error".to_owned()),
    ] {
        let url = format!("http://{address}/2018-06-01/runtime/{path}");
        assert_eq!(send(method, &url, "", b"{}").await, 403, "{path}");
    }
    let answer = running.await.unwrap();
    assert!(!answer.failed);
    assert_eq!(json(&answer)["pid"], seen["pid"], "{}", json(&answer));
}

#[tokio::test]
async fn o06_the_bucket_answers_only_requests_signed_with_its_credentials() {
    let folder = tempfile::tempdir().unwrap();
    let bucket = Bucket::serve(folder.path(), "assets").await.unwrap();
    std::fs::write(folder.path().join("assets/one"), "1").unwrap();
    let tried =
        |method, path| Tried { url: bucket.endpoint(), method, path, headers: "", body: "", status: 403 };
    for tried in [
        tried("GET", "/assets/one"),
        tried("GET", "/"),
        tried("PUT", "/assets/two"),
        tried("DELETE", "/assets/one"),
    ] {
        let unsigned = send(tried.method, &tried.at(&tried.url), "", b"").await;
        assert_eq!(unsigned, tried.status, "{} {}", tried.method, tried.path);
        for (status, how) in tried.as_a_page().await {
            assert_eq!(status, 403, "{} {}, {how}", tried.method, tried.path);
        }
    }
    assert_eq!(std::fs::read(folder.path().join("assets/one")).unwrap(), b"1");
    assert!(!folder.path().join("assets/two").exists());
    let shown = format!("{bucket:?}");
    assert!(!shown.contains(&bucket.credentials().secret_access_key), "{shown}");
}

#[tokio::test]
async fn o06_an_endpoint_that_is_served_again_requires_the_same_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.db");
    let first = Engine::open(&path, Synchronous::Normal).unwrap();
    let url = first.serve().await.unwrap();
    first.close().await;
    // A process that another test is starting has a copy of the lock until it executes its program.
    let second = reopened(&path).await;
    second.serve_at(&lamplighter_local::Endpoint::parse(&url).unwrap()).await.unwrap();
    let (address, _) = split(&url);
    assert_eq!(send("GET", &format!("{url}/"), "", b"").await, 200);
    assert_eq!(send("GET", &format!("http://{address}/"), "", b"").await, 403);
    let other = second.serve().await.unwrap();
    assert_ne!(key_of(&other), key_of(&url), "each endpoint has a key of its own");
    second.close().await;
}
