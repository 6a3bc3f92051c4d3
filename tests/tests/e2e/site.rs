//! The example application beside a runner: its program has the variables of the runner's table, as an application on a
//! server has them.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::Child,
    time::{Duration, Instant},
};

use lamplighter_e2e::{Home, site};
use lamplighter_local::{FunctionSpec, LambdaHost};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

/// The application's program and a runner.
struct Server {
    host: LambdaHost,
    runner: Child,
    home: Home,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.runner.kill();
        let _ = self.runner.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn q16_an_application_enqueues_jobs_for_a_runner() {
    let server = Server::start().await;
    let (status, accepted) =
        server.request("POST", "/import", r#"{"users":[{"email":"a@b","name":"A"}]}"#).await;
    assert_eq!(status, 202, "{accepted}");
    let path = format!("/imports/{}", accepted["id"].as_str().unwrap());
    let started = Instant::now();
    let import = loop {
        let (status, import) = server.request("GET", &path, "").await;
        assert_eq!(status, 200, "{import}");
        if import["result"] != Value::Null {
            break import;
        }
        assert!(started.elapsed() < PATIENCE, "{import}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(import, json!({ "status": "COMPLETED", "result": { "added": 1, "known": 0 } }));
    let run = server.home.run(&["history", "import-users", "--json"]);
    assert!(run.stdout.contains(accepted["id"].as_str().unwrap()), "{run:?}");
}

impl Server {
    async fn start() -> Self {
        let home = Home::new();
        let migrated = home.run(&["run", "run-migrations"]);
        assert_eq!(migrated.code, Some(0), "{migrated:?}");
        let mut runner = home.begin(&["start", "--json"]);
        // It compiles the tasks first, which may take long beside other builds. The rest of its output is not read.
        let events = BufReader::new(runner.stdout.take().unwrap()).lines().map_while(Result::ok);
        let is_started =
            events.inspect(|event| eprintln!("{event}")).any(|event| event.contains("\"started\""));
        assert!(is_started, "the runner ended");
        let address = home.path().join("wake-up");
        let endpoint = fs::read_to_string(home.path().join("table.sqlite.endpoint")).unwrap();
        let endpoint: Value = serde_json::from_str(&endpoint).unwrap();

        let host = LambdaHost::start(|line| eprintln!("{}", line.line)).await.unwrap();
        let mut spec = FunctionSpec::new("site", site());
        spec.timeout = Duration::from_secs(15);
        for (name, value) in [
            ("LAMPLIGHTER_TABLE", "shop-lamplighter".to_owned()),
            ("LAMPLIGHTER_WAKE_SOCKET", fs::read_to_string(address).unwrap()),
            ("AWS_ENDPOINT_URL_DYNAMODB", endpoint["dynamodb"].as_str().unwrap().to_owned()),
        ] {
            spec.environment.insert(name.to_owned(), value);
        }
        host.register(spec);
        Self { host, runner, home }
    }

    /// Sends a request to the application. Returns status and body.
    async fn request(&self, method: &str, path: &str, body: &str) -> (u64, Value) {
        let event =
            json!({ "rawPath": path, "requestContext": { "http": { "method": method } }, "body": body });
        let answer = self.host.invoke("site", event.to_string()).await.unwrap();
        let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
        let body = answer["body"].as_str().unwrap_or_else(|| panic!("{answer}"));
        (answer["statusCode"].as_u64().unwrap(), serde_json::from_str(body).unwrap())
    }
}
