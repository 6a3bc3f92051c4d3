//! A response URL that does not simply say yes.

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

/// What the door says to one PUT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    Status(u16),
    /// Nothing, for ever.
    Nothing,
    /// That all is well, after a while.
    OkAfter(Duration),
    /// That somebody else is to be asked.
    Elsewhere(u16, &'static str),
}

/// A server that goes through a script, one line for each PUT; the last line stands for all that follow.
pub struct Door {
    pub endpoint: String,
    received: Arc<Mutex<Vec<(Says, String)>>>,
    accepting: AbortHandle,
}

impl Door {
    pub async fn with(script: &[Says]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let script = Arc::new(Mutex::new(VecDeque::from(script.to_vec())));
        let received: Arc<Mutex<Vec<(Says, String)>>> = Arc::default();
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

    /// All bodies so far, with what was said to each.
    pub fn received(&self) -> Vec<(Says, String)> {
        self.received.lock().unwrap().clone()
    }

    /// The bodies that were accepted.
    pub fn accepted(&self) -> Vec<String> {
        let ok = |(says, body)| matches!(says, Says::Status(200) | Says::OkAfter(_)).then_some(body);
        self.received().into_iter().filter_map(ok).collect()
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn answer(
    mut client: TcpStream,
    script: &Mutex<VecDeque<Says>>,
    received: &Mutex<Vec<(Says, String)>>,
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
    let says = {
        let mut script = script.lock().unwrap();
        if script.len() > 1 { script.pop_front().unwrap() } else { script[0] }
    };
    received.lock().unwrap().push((says, body));
    match says {
        Says::Status(status) => {
            let response = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            client.write_all(response.as_bytes()).await
        }
        Says::OkAfter(while_) => {
            tokio::time::sleep(while_).await;
            client.write_all(b"HTTP/1.1 200 x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await
        }
        Says::Elsewhere(status, place) => {
            let head = format!("HTTP/1.1 {status} x\r\nlocation: {place}\r\ncontent-length: 0\r\n");
            client.write_all(format!("{head}connection: close\r\n\r\n").as_bytes()).await
        }
        Says::Nothing => std::future::pending().await,
    }
}
