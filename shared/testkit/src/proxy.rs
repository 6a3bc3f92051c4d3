//! A TCP proxy that injects faults: it can lose, delay or answer requests, and lose responses.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::AbortHandle,
    time::{Instant, sleep, sleep_until},
};

use crate::dice::Dice;

/// The fault that one request meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No fault: the request passes.
    None,
    /// The connection is closed before the request arrives.
    Refused,
    /// The request is lost, and the connection stays open.
    Swallowed,
    /// The request arrives, and the connection is closed instead of the response.
    ResponseLost,
    /// The request arrives, the response is lost, and the connection stays open.
    Silence,
    /// The request arrives, and the connection is closed after this time.
    CutAfter(Duration),
    /// The request arrives after this time, and is then answered.
    Delayed(Duration),
    /// The proxy itself answers with this status and body.
    Answer(u16, &'static str),
}

impl Fault {
    /// Rolls a fault of DynamoDB or its network that fits a request with this head. One of `every` requests meets one.
    pub fn of_table(dice: &mut Dice, every: usize, head: &str) -> Self {
        if !dice.one_in(every) {
            return Self::None;
        }
        let is = |operation: &str| head.contains(&format!("DynamoDB_20120810.{operation}"));
        let is_write = ["PutItem", "UpdateItem", "DeleteItem"].into_iter().any(is);
        match dice.roll(6) {
            0 => THROTTLED,
            1 => BROKEN,
            2 => Self::Refused,
            3 => Self::ResponseLost,
            4 => Self::Delayed(Duration::from_secs(3)),
            _ if is("TransactWriteItems") => CONFLICT,
            _ if is_write => WRITE_CONFLICT,
            _ => Self::Refused,
        }
    }
}

/// DynamoDB's response if a partition is throttled.
pub const THROTTLED: Fault = Fault::Answer(
    400,
    r#"{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"The level of configured provisioned throughput for the table was exceeded"}"#,
);
/// DynamoDB's response to an internal error.
pub const BROKEN: Fault = Fault::Answer(
    500,
    r#"{"__type":"com.amazonaws.dynamodb.v20120810#InternalServerError","message":"The request processing has failed because of an unknown error"}"#,
);

/// DynamoDB's response to a transaction that conflicts with another one.
pub const CONFLICT: Fault = Fault::Answer(
    400,
    r#"{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException","Message":"Transaction cancelled","CancellationReasons":[{"Code":"TransactionConflict","Message":"Transaction is ongoing for the item"},{"Code":"None"},{"Code":"ThrottlingError"}]}"#,
);
/// DynamoDB's response to a single write that conflicts with a transaction.
pub const WRITE_CONFLICT: Fault = Fault::Answer(
    400,
    r#"{"__type":"com.amazonaws.dynamodb.v20120810#TransactionConflictException","message":"Transaction is ongoing for the item"}"#,
);
/// Lambda's response above its rate limit.
pub const TOO_MANY: Fault =
    Fault::Answer(429, r#"{"Reason":"CallerRateLimitExceeded","Type":"User","message":"Rate exceeded"}"#);
/// CloudFormation's response without permission.
pub const DENIED: Fault = Fault::Answer(
    403,
    "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>User is not authorized to perform: cloudformation:DescribeStacks</Message></Error><RequestId>r</RequestId></ErrorResponse>",
);

type Rule = Arc<Mutex<Box<dyn FnMut(&str) -> Fault + Send>>>;

/// A proxy in front of an endpoint. Its rule decides on each request by the head.
pub struct Proxy {
    /// The proxy's URL, with the endpoint's key if it has one.
    pub endpoint: String,
    rule: Rule,
    accepting: AbortHandle,
}

impl Proxy {
    /// Starts a proxy that passes everything.
    pub async fn before(endpoint: &str) -> Self {
        let address = endpoint.strip_prefix("http://").unwrap();
        let (upstream, key) = address.split_at(address.find('/').unwrap_or(address.len()));
        let upstream = upstream.to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}{key}", listener.local_addr().unwrap());
        let rule: Rule = Arc::new(Mutex::new(Box::new(|_: &str| Fault::None)));
        let own = Arc::clone(&rule);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (upstream, rule) = (upstream.clone(), Arc::clone(&own));
                tokio::spawn(async move { carry(client, &upstream, &rule).await });
            }
        });
        Self { endpoint, rule, accepting: accepting.abort_handle() }
    }

    /// Sets the rule for all further requests.
    pub fn rule(&self, rule: impl FnMut(&str) -> Fault + Send + 'static) {
        *self.rule.lock().unwrap() = Box::new(rule);
    }

    /// Makes the first `times` requests with `word` in their head meet the fault. Returns the counter of those that did.
    pub fn fail(&self, word: &'static str, times: usize, fault: Fault) -> Arc<Mutex<usize>> {
        let met: Arc<Mutex<usize>> = Arc::default();
        let count = Arc::clone(&met);
        self.rule(move |head| {
            let mut count = count.lock().unwrap();
            if !head.contains(word) || *count >= times {
                return Fault::None;
            }
            *count += 1;
            fault
        });
        met
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(mut client: TcpStream, upstream: &str, rule: &Rule) -> Option<()> {
    let mut server = TcpStream::connect(upstream).await.ok()?;
    server.set_nodelay(true).ok()?;
    client.set_nodelay(true).ok()?;
    let (mut sent, mut returned) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let mut fault = Fault::None;
    let mut cut_at = None;
    loop {
        tokio::select! {
            read = client.read(&mut sent) => {
                let part = &sent[..read.ok().filter(|n| *n > 0)?];
                if [b"POST ".as_slice(), b"GET ", b"PUT "].iter().any(|verb| part.starts_with(verb)) {
                    fault = rule.lock().unwrap()(&String::from_utf8_lossy(part));
                    cut_at = match fault {
                        Fault::CutAfter(after) => Some(Instant::now() + after),
                        _ => None,
                    };
                }
                match fault {
                    Fault::Refused => return None,
                    Fault::Swallowed => {}
                    Fault::Delayed(time) => {
                        sleep(time).await;
                        server.write_all(part).await.ok()?;
                    }
                    Fault::Answer(status, body) => {
                        let length = body.len();
                        let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
                        client.write_all(format!("{head}{body}").as_bytes()).await.ok()?;
                        return None;
                    }
                    _ => server.write_all(part).await.ok()?,
                }
            }
            read = server.read(&mut returned) => {
                let part = &returned[..read.ok().filter(|n| *n > 0)?];
                match fault {
                    Fault::ResponseLost => return None,
                    Fault::Silence => {}
                    _ => client.write_all(part).await.ok()?,
                }
            }
            () = sleep_until(cut_at.unwrap_or_else(Instant::now)), if cut_at.is_some() => return None,
        }
    }
}
