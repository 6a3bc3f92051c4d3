//! A page that `warm-cache` requests. It requests the site, and records the version that responded.

use std::sync::{Arc, Mutex};

use lamplighter_e2e::Aws;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The page's server. It ends when this value is dropped.
pub struct Pages {
    /// The page's address.
    pub url: String,
    versions: Arc<Mutex<Vec<String>>>,
    open: watch::Sender<bool>,
    waiting: watch::Receiver<usize>,
    server: JoinHandle<()>,
}

impl Pages {
    /// Starts the server of a page in front of a stack's site.
    pub async fn start(aws: &Aws, site: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let versions = Arc::<Mutex<Vec<String>>>::default();
        let (open, opened) = watch::channel(true);
        let (arrive, waiting) = watch::channel(0);
        let (aws, site, noted) = (aws.clone(), site.to_owned(), Arc::clone(&versions));
        let server = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (aws, site, noted, mut opened) =
                    (aws.clone(), site.clone(), Arc::clone(&noted), opened.clone());
                arrive.send_modify(|count| *count += 1);
                tokio::spawn(async move {
                    // The server ends with the test.
                    let _ = opened.wait_for(|open| *open).await;
                    let version = version(&aws, &site).await;
                    noted.lock().unwrap().push(version);
                    answer(stream).await;
                });
            }
        });
        Self { url, versions, open, waiting, server }
    }

    /// The site's version of each request, oldest first.
    pub fn versions(&self) -> Vec<String> {
        self.versions.lock().unwrap().clone()
    }

    /// Makes requests wait from now on.
    pub fn close(&self) {
        self.open.send_replace(false);
    }

    /// Answers waiting and further requests.
    pub fn open(&self) {
        self.open.send_replace(true);
    }

    /// Waits until there were `times` requests since the start.
    pub async fn requested(&self, times: usize) {
        self.waiting.clone().wait_for(|count| *count >= times).await.unwrap();
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Requests the version of a site's function.
pub async fn version(aws: &Aws, site: &str) -> String {
    let url = aws.function_url(site).await.unwrap_or_else(|| panic!("{site} has no URL"));
    let (status, body) = aws.get(&url, "/").await;
    assert_eq!(status, 200, "{body}");
    let body: Value = serde_json::from_str(&body).unwrap();
    body["version"].as_str().unwrap().to_owned()
}

async fn answer(mut stream: TcpStream) {
    let mut request = [0; 4096];
    // An error means that the client has closed the connection.
    let _ = stream.read(&mut request).await;
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok").await;
}
