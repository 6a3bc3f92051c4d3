//! A function for the tests, which does what its event says.

use std::{env, process, time::Duration};

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> Result<(), Error> {
    match env::var("PROBE_START").as_deref() {
        Ok("fail") => {
            eprintln!("cannot start like this");
            process::exit(3);
        }
        // Longer than the init phase in Lambda.
        Ok("late") => std::thread::sleep(Duration::from_millis(10_500)),
        _ => {}
    }
    lambda_runtime::run(service_fn(handle)).await
}

async fn handle(event: LambdaEvent<Value>) -> Result<Value, Error> {
    let (payload, context) = event.into_parts();
    if env::var("PROBE_PRINT_EVENTS").is_ok() {
        println!("event {payload}");
    }
    let number = |name: &str| payload[name].as_u64().unwrap_or_default();
    match payload["op"].as_str().unwrap_or("echo") {
        "sleep" => tokio::time::sleep(Duration::from_millis(number("ms"))).await,
        "exit" => process::exit(i32::try_from(number("code"))?),
        "panic" => panic!("as asked"),
        "abort" => process::abort(),
        "fail" => return Err("as asked".into()),
        "print" => {
            println!("to stdout");
            eprintln!("to stderr");
        }
        "print-and-exit" => {
            println!("last words");
            process::exit(1);
        }
        "large" => return Ok(json!("x".repeat(usize::try_from(number("bytes"))?))),
        "child" => {
            let child = process::Command::new("sleep").arg("1000").spawn()?;
            println!("child {}", child.id());
            tokio::time::sleep(Duration::from_secs(1000)).await;
        }
        "append" => {
            // Shows that the invocation went on after its caller was gone.
            tokio::time::sleep(Duration::from_millis(number("ms"))).await;
            std::fs::write(payload["path"].as_str().unwrap_or_default(), "done")?;
        }
        _ => {}
    }
    Ok(json!({
        "payload": payload,
        "pid": process::id(),
        "request_id": context.request_id,
        "deadline_ms": context.deadline,
        "arn": context.invoked_function_arn,
        "folder": env::current_dir()?,
        "environment": env::vars().collect::<std::collections::BTreeMap<_, _>>(),
    }))
}
