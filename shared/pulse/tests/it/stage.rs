//! A stack on one machine. Tests invoke its pulse.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Deref,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use aws_sdk_dynamodb::types::AttributeValue;
use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use jiff::Timestamp;
use lamplighter_core::{
    claim::KnownSchedule,
    definition::{Cron, Definition, Kind, Priority, Queue},
    name::TaskName,
    pulse::{Driver, PLAN, Plan, PlannedTask, State as Remembered, run_id, schedule_word},
    run::Run,
};
use lamplighter_local::{FunctionSpec, LambdaHost};
pub use lamplighter_testkit::eventually;
use lamplighter_testkit::{example, machine::Machine};
use serde_json::{Value, json};

use crate::{queues::Queues, server::serve};

pub const PULSE: &str = "shop-lamplighter-pulse";

pub struct Stage {
    machine: Machine,
    pub hook: Hook,
    /// The queues of the stack's tasks.
    pub queues: Queues,
    /// The functions whose invocations are refused as throttled.
    pub throttled: Arc<Mutex<BTreeSet<String>>>,
    endpoints: BTreeMap<String, String>,
}

/// A task of the stack, and the behaviour of its process.
pub struct Probe {
    pub planned: PlannedTask,
    pub config: Value,
    pub settings: Value,
}

pub fn name(text: &str) -> TaskName {
    text.parse().unwrap()
}

/// A cron task with ticks at these minutes of the last hour, counted back from `now`.
pub fn probe(task: &str, now: Timestamp, minutes_ago: impl IntoIterator<Item = i64>) -> Probe {
    let minutes = minutes_ago.into_iter().map(|ago| (tick(now, ago).as_second() / 60 % 60).to_string());
    let schedule = format!("{} * * * *", minutes.collect::<Vec<_>>().join(","));
    let cron = Cron::new(Some(schedule.parse().unwrap()));
    let definition = Definition::new(name(task), Kind::Cron(cron));
    Probe { planned: PlannedTask::new(definition, Driver::Pulse), config: json!({}), settings: json!({}) }
}

/// A queue task.
pub fn queue(task: &str) -> Probe {
    let queue = Queue { priority: Priority::default(), concurrency: None, arguments_schema: json!(null) };
    let definition = Definition::new(name(task), Kind::Queue(queue));
    Probe { planned: PlannedTask::new(definition, Driver::Other), config: json!({}), settings: json!({}) }
}

/// The schedule with one tick an hour, at the minute of `tick`.
pub fn minute_of(tick: Timestamp) -> String {
    format!("{} * * * *", tick.as_second() / 60 % 60)
}

/// The start of the minute of `now`, or of an earlier minute.
pub fn tick(now: Timestamp, minutes_ago: i64) -> Timestamp {
    Timestamp::from_second((now.as_second().div_euclid(60) - minutes_ago) * 60).unwrap()
}

impl Probe {
    pub fn cron(mut self, change: impl FnOnce(&mut Cron)) -> Self {
        let Kind::Cron(cron) = &mut self.planned.definition.kind else { unreachable!("it is a cron task") };
        change(cron);
        self
    }

    pub fn needs(self, dependency: &str) -> Self {
        self.cron(|cron| cron.depends_on = vec![name(dependency)])
    }

    pub fn catches_up(self, policy: &str) -> Self {
        self.cron(|cron| cron.catch_up = policy.parse().unwrap())
    }

    pub fn overlaps(mut self, policy: &str) -> Self {
        self.settings = json!({ "overlap": policy });
        self.cron(|cron| cron.overlap = policy.parse().unwrap())
    }

    pub fn of_eventbridge(mut self) -> Self {
        self.planned.driver = Driver::Schedule;
        self
    }

    pub fn set(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.config[key] = value.into();
        self
    }
}

impl Stage {
    /// A stack with these tasks, whose last pulse was `minutes_ago` before `now`.
    pub async fn new(now: Timestamp, minutes_ago: i64, probes: Vec<Probe>) -> Self {
        let machine = Machine::new().await;
        let throttled: Arc<Mutex<BTreeSet<String>>> = Arc::default();
        let lambda = front(Arc::clone(&machine.host), Arc::clone(&throttled)).await;
        let mut endpoints = machine.variables();
        endpoints.insert("AWS_ENDPOINT_URL_LAMBDA".to_owned(), lambda);
        let (hook, queues) = (Hook::new().await, Queues::new().await);
        let stage = Self { machine, hook, queues, throttled, endpoints };
        let plan = Plan::from(probes.iter().map(|probe| probe.planned.clone()).collect::<Vec<_>>());
        std::fs::write(stage.folder().join(PLAN), serde_json::to_string(&plan).unwrap()).unwrap();
        stage.install_pulse(&[]);
        for probe in &probes {
            stage.install(probe);
        }
        for (planned, cron) in plan.tasks().iter().filter_map(|task| Some((task, task.cron()?))) {
            let known = KnownSchedule {
                schedule: schedule_word(cron),
                since: Timestamp::UNIX_EPOCH,
                is_changed: false,
            };
            stage.table.know(planned.name(), &known, None).await.unwrap();
        }
        let last = Remembered {
            plan: Some(plan.digest().to_owned()),
            watermark: Some(tick(now, minutes_ago).checked_sub(Duration::from_secs(30)).unwrap()),
            ..Remembered::default()
        };
        assert!(stage.table.keep_pulse_state(&last, &Remembered::default()).await.unwrap());
        stage
    }

    /// Installs the pulse, with these variables instead of its own.
    pub fn install_pulse(&self, variables: &[(&str, &str)]) {
        let mut environment = self.endpoints.clone();
        let own = [
            ("LAMPLIGHTER_STACK", "shop"),
            ("LAMPLIGHTER_ENVIRONMENT", "test"),
            ("LAMPLIGHTER_NOTIFY", &json!({ "webhook": self.hook.url }).to_string()),
            ("LAMPLIGHTER_QUEUES", crate::queues::PREFIX),
            ("AWS_ENDPOINT_URL_SQS", &self.queues.url),
        ];
        let all = own.iter().chain(variables);
        environment.extend(all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        self.host.register(FunctionSpec {
            environment,
            timeout: Duration::from_secs(55),
            task_root: Some(self.folder().to_owned()),
            ..FunctionSpec::new(PULSE, example("pulse-function"))
        });
    }

    /// The endpoint of a service, such as `DYNAMODB`.
    pub fn endpoint(&self, service: &str) -> &str {
        &self.endpoints[&format!("AWS_ENDPOINT_URL_{service}")]
    }

    /// Installs a task's function, or its new version.
    pub fn install(&self, probe: &Probe) {
        let (mut settings, mut config) = (probe.settings.clone(), probe.config.clone());
        config["journal"] = json!(self.folder().join("journal"));
        settings["config"] = config;
        let mut environment = self.endpoints.clone();
        let task = probe.planned.name().as_str();
        environment.insert("PROBE_NAME".into(), task.into());
        environment.insert("LAMPLIGHTER_SETTINGS".into(), settings.to_string());
        self.host.register(FunctionSpec {
            environment,
            timeout: Duration::from_secs(30),
            on_failure: Some(PULSE.to_owned()),
            max_retries: 0,
            ..FunctionSpec::new(format!("shop-{task}"), example("pulse-probe"))
        });
    }

    /// Sends an event to the pulse and returns its response.
    pub async fn send(&self, event: Value) -> Value {
        let invocation = self.host.invoke(PULSE, event.to_string()).await.unwrap();
        let response: Value = serde_json::from_slice(&invocation.payload).unwrap();
        assert!(!invocation.failed, "{response}\n{}", self.log.text());
        response
    }

    /// Has the pulse do the minute's work, and returns its report.
    pub async fn pulse(&self) -> Value {
        let report = self.send(json!({})).await;
        assert_eq!(report["worked"], true, "{report}");
        report
    }

    /// Makes the next pulse a new minute's. It considers the ticks of the last `back` minutes again.
    pub async fn next_minute(&self, back: i64) {
        let found = self.table.client().scan().table_name("lamplighter").send().await.unwrap();
        for item in found.items() {
            let key = |name: &str| item[name].as_s().unwrap().clone();
            if key("pk") == "PULSE" && key("sk") != "STATE" {
                let delete = self.table.client().delete_item().table_name("lamplighter");
                let delete = delete.key("pk", AttributeValue::S(key("pk")));
                delete.key("sk", AttributeValue::S(key("sk"))).send().await.unwrap();
            }
        }
        let seen = self.table.pulse_state().await.unwrap();
        let back = Duration::from_secs(60 * back.unsigned_abs());
        let watermark = seen.watermark.map(|watermark| watermark.checked_sub(back).unwrap());
        let state = Remembered { watermark, ..seen.clone() };
        assert!(self.table.keep_pulse_state(&state, &seen).await.unwrap());
    }

    /// Makes the stack's tasks unknown to the pulse, as after their first deployment.
    pub async fn forget_the_plan(&self) {
        let found = self.table.client().scan().table_name("lamplighter").send().await.unwrap();
        for item in found.items().iter().filter(|item| item["sk"].as_s().unwrap() == "TASK") {
            let update = self.table.client().update_item().table_name("lamplighter");
            let update = update.key("pk", item["pk"].clone()).key("sk", item["sk"].clone());
            update.update_expression("REMOVE known").send().await.unwrap();
        }
        let seen = self.table.pulse_state().await.unwrap();
        let state = Remembered { plan: None, ..seen.clone() };
        assert!(self.table.keep_pulse_state(&state, &seen).await.unwrap());
    }

    /// Makes all stored notifications due.
    pub async fn messages_are_due(&self) {
        let found = self.table.client().scan().table_name("lamplighter").send().await.unwrap();
        for item in found.items().iter().filter(|item| item.contains_key("message")) {
            let update = self.table.client().update_item().table_name("lamplighter");
            let update = update.key("pk", item["pk"].clone()).key("sk", item["sk"].clone());
            let update = update.update_expression("SET telling_until = :now");
            let update = update.expression_attribute_values(":now", AttributeValue::N("0".into()));
            update.condition_expression("attribute_exists(telling_until)").send().await.ok();
        }
    }

    /// The started bodies, in order: the task and its tick.
    pub fn journal(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder().join("journal")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// The tasks that have started, in order.
    pub fn started(&self) -> Vec<String> {
        self.journal().iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    }

    /// The record of a tick's run that the pulse has started.
    pub async fn run(&self, task: &str, tick: Timestamp) -> Option<Run> {
        self.table.run(&name(task), run_id(&name(task), tick)).await.unwrap()
    }

    /// The number of a task's records.
    pub async fn records(&self, task: &str) -> usize {
        let query = self.table.client().query().table_name("lamplighter");
        let query = query.key_condition_expression("pk = :pk");
        let pk = AttributeValue::S(format!("RUNS#{task}#0"));
        let found = query.expression_attribute_values(":pk", pk).send().await.unwrap();
        usize::try_from(found.count()).unwrap()
    }

    /// Makes a task's item unreadable.
    pub async fn damage(&self, task: &str) {
        let put = self.table.client().put_item().table_name("lamplighter");
        let put = put.item("pk", AttributeValue::S(format!("TASK#{task}")));
        let put = put.item("sk", AttributeValue::S("TASK".into()));
        put.item("run_id", AttributeValue::S("not an id".into())).send().await.unwrap();
    }

    /// Undoes `damage`.
    pub async fn repair(&self, task: &str) {
        let delete = self.table.client().delete_item().table_name("lamplighter");
        let delete = delete.key("pk", AttributeValue::S(format!("TASK#{task}")));
        delete.key("sk", AttributeValue::S("TASK".into())).send().await.unwrap();
    }

    pub async fn end(self) {
        self.machine.end().await;
    }
}

impl Deref for Stage {
    type Target = Machine;

    fn deref(&self) -> &Machine {
        &self.machine
    }
}

/// An Invoke API in front of the host's. It refuses invocations of throttled functions. Source of the response: AWS Lambda
/// API Reference, `Invoke`.
async fn front(host: Arc<LambdaHost>, throttled: Arc<Mutex<BTreeSet<String>>>) -> String {
    type Shared = (Arc<LambdaHost>, Arc<Mutex<BTreeSet<String>>>);
    async fn invoke(
        State((host, throttled)): State<Shared>,
        Path(name): Path<String>,
        payload: Bytes,
    ) -> Response {
        if throttled.lock().unwrap().contains(&name) {
            let kind = [("x-amzn-errortype", "TooManyRequestsException")];
            let message = json!({ "message": "Rate Exceeded.", "Reason": "CallerRateLimitExceeded" });
            return (StatusCode::TOO_MANY_REQUESTS, kind, message.to_string()).into_response();
        }
        host.invoke_event(&name, payload.to_vec()).unwrap();
        StatusCode::ACCEPTED.into_response()
    }
    let route = "/2015-03-31/functions/{name}/invocations";
    serve(Router::new().route(route, post(invoke)).with_state((host, throttled))).await
}

/// A webhook that keeps the requests that it receives, and fails on request.
pub struct Hook {
    pub url: String,
    pub received: Arc<Mutex<Vec<Value>>>,
    /// The number of requests that it still refuses.
    pub refusals: Arc<AtomicUsize>,
    /// If set, it accepts requests and never responds.
    pub hangs: Arc<AtomicBool>,
}

impl Hook {
    async fn new() -> Self {
        type Shared = (Arc<Mutex<Vec<Value>>>, Arc<AtomicUsize>, Arc<AtomicBool>);
        async fn take(State((received, refusals, hangs)): State<Shared>, body: Bytes) -> StatusCode {
            if hangs.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            let refuses =
                refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            if refuses.is_ok() {
                return StatusCode::SERVICE_UNAVAILABLE;
            }
            received.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
            StatusCode::OK
        }
        let (received, refusals, hangs): Shared = Shared::default();
        let router = Router::new().route("/hook", post(take));
        let router = router.with_state((Arc::clone(&received), Arc::clone(&refusals), Arc::clone(&hangs)));
        Self { url: format!("{}/hook", serve(router).await), received, refusals, hangs }
    }

    pub fn messages(&self) -> Vec<Value> {
        self.received.lock().unwrap().clone()
    }
}
