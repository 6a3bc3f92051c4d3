//! O08: a runner notifies of failures as the pulse does, and ignores ticks before its start.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::stage::{Stage, until};

/// A webhook that refuses the first message and stores the others.
struct Hook {
    url: String,
    messages: Arc<Mutex<Vec<Value>>>,
}

impl Hook {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let messages = Arc::<Mutex<Vec<Value>>>::default();
        let kept = Arc::clone(&messages);
        thread::spawn(move || {
            for (i, stream) in listener.incoming().enumerate() {
                let mut stream = stream.unwrap();
                let Some(message) = body(&mut stream) else { continue };
                let status = if i == 0 { "500 Internal Server Error" } else { "200 OK" };
                if i > 0 {
                    kept.lock().unwrap().push(message);
                }
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                // The client may be gone.
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Self { url, messages }
    }

    fn messages(&self) -> Vec<Value> {
        self.messages.lock().unwrap().clone()
    }
}

/// The JSON of one request.
fn body(stream: &mut TcpStream) -> Option<Value> {
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let (mut read, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&read);
        if let Some((_, body)) = text.split_once("\r\n\r\n")
            && let Ok(message) = serde_json::from_str(body)
        {
            return Some(message);
        }
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return None,
            Ok(count) => read.extend_from_slice(&piece[..count]),
        }
    }
}

#[test]
fn o08_a_runner_notifies_of_failed_runs_and_jobs_but_not_of_ticks_before_its_start() {
    let hook = Hook::new();
    let stage = Stage::new()
        .task("fail", "every 2 seconds", "fail")
        .queue("mail", &json!({}))
        .with_webhook(&hook.url);
    let begun = Timestamp::now();
    let mut runner = stage.start(&["start", "--grace", "0"], &[("TASK_DEFAULT_RETRIES", "0")]);
    // The first message is refused. It stays stored, and the others are sent nevertheless.
    let refused = runner.until("warning about the refused message", |line| line["event"] == "warning");
    assert!(refused["message"].as_str().unwrap().contains("is sent again at"), "{refused}");
    let job = stage.enqueue("mail", "fail", "x", &[]);
    stage.over(&job);
    let of = |task: &str| {
        let all = hook.messages();
        all.into_iter().filter(|message| message["task"] == task).collect::<Vec<_>>()
    };
    until("the job's message", || (!of("mail").is_empty()).then_some(()));
    until("a run's message", || (!of("fail").is_empty()).then_some(()));
    runner.signal("TERM");
    assert_eq!(runner.ended().0, Some(0));
    let message = &of("mail")[0];
    assert_eq!((&message["status"], &message["stack"]), (&json!("FAILED"), &json!("shop")), "{message}");
    let ids: Vec<_> = hook.messages().iter().map(|message| message["run_id"].to_string()).collect();
    let mut once = ids.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), ids.len(), "each failure is sent once: {ids:?}");
    assert!(hook.messages().iter().all(|message| message["status"] != "MISSED"), "{:?}", hook.messages());
    // A tick one hour before the start of the runner.
    let before = Timestamp::from_second(begun.as_second() / 2 * 2 - 3600).unwrap();
    let answer = stage.workspace.run(&["why", "fail", &before.to_string(), "--json"]).succeeded();
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["answer"], "not_there_yet", "{answer}");
    let since: Timestamp = answer["since"].as_str().unwrap().parse().unwrap();
    assert!(since >= begun - Duration::from_secs(61), "{since}");
}
