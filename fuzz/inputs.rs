//! Everything that comes in from outside, and what holds of any input: it is read or refused, without a panic, and what was
//! read says the same once it is written and read again.
//!
//! libFuzzer calls these functions with inputs of its own (`make fuzz`), `make test` with those of the corpus.

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region, retry::RetryConfig};
use aws_smithy_runtime_api::client::{
    http::{HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
    orchestrator::{HttpRequest, HttpResponse},
    runtime_components::RuntimeComponents,
};
use aws_smithy_types::body::SdkBody;
use jiff::{Timestamp, tz::TimeZone};
use lamplighter_aws::table::{History, RequestKey, Table};
use lamplighter_core::{
    catch_up::CatchUp, definition::Definition, envelope::Envelope, id::RunId, job::JobKey,
    job::attempts::Attempts, name::TaskName, schedule::Schedule,
};
use lamplighter_project::{Project, config::Config, describe::DescribedTask};
use lamplighter_template::{self as template, Application};
use serde_json::{Value, json};

/// A schedule's text.
pub fn schedules(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let _ = text.parse::<CatchUp>();
    let schedule = match text.parse::<Schedule>() {
        Ok(schedule) => schedule,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    // Its expression in numbers has the same ticks.
    let plain: Schedule = schedule.fields().to_string().parse().expect("its own expression is a schedule");
    let _ = schedule.to_eventbridge();
    for zone in ["UTC", "Europe/Vienna", "Australia/Lord_Howe"] {
        let zone = TimeZone::get(zone).expect("it is a time zone");
        let mut after: Timestamp = "2026-03-28T23:30:00Z".parse().expect("it is a time");
        for _ in 0..4 {
            let next = schedule.next_after(&zone, after);
            assert_eq!(next, plain.next_after(&zone, after), "{schedule} and {plain} after {after}");
            let Some(next) = next else { break };
            assert!(next > after, "{schedule}: {next} is not after {after}");
            after = next;
        }
    }
}

/// The payload of a task's function.
pub fn envelopes(input: &[u8]) {
    let Ok(payload) = serde_json::from_slice::<Value>(input) else { return };
    let _ = serde_json::from_value::<Attempts>(payload.clone());
    let Ok(envelope) = Envelope::parse(payload) else { return };
    let _ = envelope.occasion();
    let written = serde_json::to_value(&envelope).expect("it can be written");
    assert_eq!(Envelope::parse(written).as_ref(), Ok(&envelope));
}

/// An event of CloudFormation, of the pulse, or the body of a queue's message.
pub fn messages(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(key) = serde_json::from_str::<JobKey>(text) {
        let written = serde_json::to_string(&key).expect("it can be written");
        assert_eq!(serde_json::from_str::<JobKey>(&written).expect("it can be read"), key);
    }
    if let Ok(event) = serde_json::from_str::<Value>(text) {
        let _ = lamplighter_pulse::event::Event::parse(event);
    }
    let event = lamplighter_dispatcher::event::Event::read(text);
    let event = event.undelivered().map_or(event, |(event, _)| event);
    if let Ok(envelope) = lamplighter_dispatcher::event::envelope(&event, None) {
        let action = lamplighter_dispatcher::event::action(&event, &envelope);
        let again = lamplighter_dispatcher::event::Event::read(
            &event.with(lamplighter_dispatcher::event::FIRST_DELIVERY, "2026-11-28T19:00:00Z"),
        );
        assert_eq!(lamplighter_dispatcher::event::action(&again, &envelope), action);
    }
}

/// `lamplighter.toml`.
pub fn project_file(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(config) = Config::parse(text) else { return };
    let Ok(project) = Project::resolve("shop", tasks(), &config, None) else { return };
    if let Ok(template) = template::render(&project, None) {
        serde_yaml_ng::from_str::<serde_yaml_ng::Value>(&template).expect("the template is YAML");
    }
}

/// `infra/application.yaml`.
pub fn application(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(application) = Application::parse("infra/application.yaml", text) else { return };
    let project =
        Project::resolve("shop", tasks(), &Config::default(), None).expect("the tasks stand together");
    let Ok(template) = template::render(&project, Some(&application)) else { return };
    // By the reader of applications, since serde_yaml_ng takes no number beyond 64 bits, which CloudFormation does.
    if let Err(faults) = Application::parse("infra/template.yaml", &template) {
        panic!("the template cannot be read: {faults}\n{template}");
    }
}

/// An item of the table, as DynamoDB sends it.
pub fn items(input: &[u8]) {
    let Ok(item) = std::str::from_utf8(input) else { return };
    let answers = Answers(format!(
        r#"{{"Item":{item},"Items":[{item}],"Attributes":{item},"Responses":{{"table":[{item}]}},"UnprocessedKeys":{{}}}}"#
    ));
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .credentials_provider(Credentials::new("fuzz", "fuzz", None, None, "fuzz"))
        .http_client(answers)
        .region(Region::from_static("eu-central-1"))
        .retry_config(RetryConfig::disabled())
        .build();
    let table = Table::new(aws_sdk_dynamodb::Client::from_conf(config), "table");
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime starts");
    runtime.block_on(read(&table));
}

/// Reads whatever an item may be.
async fn read(table: &Table) {
    let task: TaskName = "purge".parse().expect("it is a name");
    let run_id: RunId = "01JD000000000000000000000V".parse().expect("it is an id");
    let now: Timestamp = "2026-11-28T19:00:00Z".parse().expect("it is a time");
    if let Ok(state) = table.state(&task).await {
        let _ = state.lost(now);
    }
    let _ = table.run(&task, run_id).await;
    let _ = table.history(&History::of(task.clone(), 5)).await;
    let _ = table.jobs(&History::of(task.clone(), 5)).await;
    let _ = table.job(&JobKey { task: task.clone(), run_id }).await;
    let _ = table.ledger("stack#Before", None).await;
    let _ = table.latest("stack#Before").await;
    let _ = table.deployments("stack#Before", 5).await;
    let _ = table.receive(RequestKey { ledger: "stack#Before", id: "r" }, now).await;
    let _ = table.pulses(5).await;
    let _ = table.pulse_state().await;
    let _ = table.runners().await;
    let _ = table.states([&task]).await;
}

/// A service that has one answer to everything.
#[derive(Clone, Debug)]
struct Answers(String);

impl HttpClient for Answers {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Answers {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        let mut response =
            HttpResponse::new(200.try_into().expect("it is a status"), SdkBody::from(self.0.as_str()));
        response.headers_mut().insert("content-type", "application/x-amz-json-1.0");
        HttpConnectorFuture::ready(Ok(response))
    }
}

/// A task of each kind.
fn tasks() -> Vec<DescribedTask> {
    let described = |name: &str, keys: Value| {
        let mut definition = json!({
            "name": name, "description": "", "timeout_ms": 60_000,
            "retry": { "max_attempts": 3, "initial_ms": 500, "max_ms": 30_000 },
            "copy_assets": [], "rollback": false, "config": { "limit": 5, "token": "" },
            "config_schema": {
                "type": "object",
                "properties": {
                    "limit": { "type": "integer", "format": "uint8", "minimum": 0, "maximum": 255 },
                    "token": { "type": "string", "writeOnly": true },
                },
            },
        });
        let (Value::Object(definition), Value::Object(keys)) = (&mut definition, keys) else {
            unreachable!()
        };
        definition.extend(keys);
        let definition: Definition =
            serde_json::from_value(Value::Object(definition.clone())).expect("it is a task");
        DescribedTask {
            definition,
            binary: name.to_owned(),
            source: format!("functions/tasks/{name}/src/lib.rs"),
            folder: name.into(),
        }
    };
    vec![
        described(
            "migrate",
            json!({
                "kind": "lifecycle", "run_on": ["deploy", "update"], "phase": "before", "once_per": "deployment",
                "depends_on": [],
            }),
        ),
        described(
            "purge",
            json!({ "kind": "cron", "schedule": "*/5 * * * *", "timezone": "Europe/Berlin", "priority": "medium" }),
        ),
        described("send-receipt", json!({ "kind": "queue", "priority": "high", "concurrency": 8 })),
        described("stream", json!({ "kind": "side" })),
    ]
}
