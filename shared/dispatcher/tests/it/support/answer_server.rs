//! An HTTP server that receives answers as CloudFormation does, and replies as a test sets it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};

/// A reply to one PUT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// This status.
    Status(u16),
    /// None; the connection stays open.
    Silence,
    /// Status 200 after a delay.
    OkAfter(Duration),
    /// A redirect with this status to this URL.
    Redirect(u16, &'static str),
}

/// A server with one reply for each PUT. The last reply repeats.
pub struct AnswerServer {
    pub endpoint: String,
    received: Arc<Mutex<Vec<(Reply, String)>>>,
    accepting: AbortHandle,
}

impl AnswerServer {
    pub async fn start(script: &[Reply]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let script = Arc::new(Mutex::new(VecDeque::from(script.to_vec())));
        let received: Arc<Mutex<Vec<(Reply, String)>>> = Arc::default();
        let kept = Arc::clone(&received);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (script, kept) = (Arc::clone(&script), Arc::clone(&kept));
                tokio::spawn(async move { answer(client, &script, &kept).await });
            }
        });
        Self { endpoint, received, accepting: accepting.abort_handle() }
    }

    pub fn url(&self) -> String {
        format!("{}/an-unguessable-token", self.endpoint)
    }

    /// All bodies so far, each with its reply.
    pub fn received(&self) -> Vec<(Reply, String)> {
        self.received.lock().unwrap().clone()
    }

    /// The bodies that were accepted.
    pub fn accepted(&self) -> Vec<String> {
        let ok = |(reply, body)| matches!(reply, Reply::Status(200) | Reply::OkAfter(_)).then_some(body);
        self.received().into_iter().filter_map(ok).collect()
    }
}

impl Drop for AnswerServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn answer(
    mut client: TcpStream,
    script: &Mutex<VecDeque<Reply>>,
    received: &Mutex<Vec<(Reply, String)>>,
) -> std::io::Result<()> {
    let mut text = Vec::new();
    let body = loop {
        if client.read_buf(&mut text).await? == 0 {
            return Ok(());
        }
        let so_far = String::from_utf8_lossy(&text).into_owned();
        let Some((head, body)) = so_far.split_once("\r\n\r\n") else { continue };
        let head = head.to_lowercase();
        let length = head.split_once("content-length: ").map_or("0", |(_, rest)| rest);
        let length: usize = length.lines().next().unwrap_or("0").trim().parse().unwrap_or(0);
        if body.len() >= length {
            break body.to_owned();
        }
    };
    let reply = {
        let mut script = script.lock().unwrap();
        if script.len() > 1 { script.pop_front().unwrap() } else { script[0] }
    };
    received.lock().unwrap().push((reply, body));
    match reply {
        Reply::Status(status) => {
            let response = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            client.write_all(response.as_bytes()).await
        }
        Reply::OkAfter(delay) => {
            tokio::time::sleep(delay).await;
            client.write_all(b"HTTP/1.1 200 x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await
        }
        Reply::Redirect(status, place) => {
            let head = format!("HTTP/1.1 {status} x\r\nlocation: {place}\r\ncontent-length: 0\r\n");
            client.write_all(format!("{head}connection: close\r\n\r\n").as_bytes()).await
        }
        Reply::Silence => std::future::pending().await,
    }
}
