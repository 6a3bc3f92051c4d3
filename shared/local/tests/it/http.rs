//! Plain HTTP requests, for requests that no SDK makes.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Sends a request and returns the status of the answer.
pub(crate) async fn send(method: &str, url: &str, headers: &str, body: &[u8]) -> u16 {
    let (address, _) = split(url);
    send_to(address, method, url, headers, body).await
}

/// As [`send`], with another `Host` header.
pub(crate) async fn send_to(host: &str, method: &str, url: &str, headers: &str, body: &[u8]) -> u16 {
    let (address, path) = split(url);
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "{method} /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap().parse().unwrap()
}

/// Splits a URL into its address and its path.
pub(crate) fn split(url: &str) -> (&str, &str) {
    let rest = url.strip_prefix("http://").unwrap();
    rest.split_once('/').unwrap_or((rest, ""))
}
