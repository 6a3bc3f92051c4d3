//! The permissions of the dispatcher and of the fallback responder: they use each of those in the example's template, and no
//! other.

use std::time::Duration;

use lamplighter_local::FunctionSpec;
use lamplighter_testkit::permissions::{Watch, allowed};

use crate::support::{DISPATCHER, FALLBACK, Probe, Stage, back, event, probe};

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn g03_the_dispatcher_and_the_fallback_use_each_of_their_permissions_and_no_other() {
    let stage = Stage::new().await;
    let services = ["DYNAMODB", "LAMBDA", "CLOUDFORMATION"];
    let watched = services.map(|name| (name, stage.endpoints[&format!("AWS_ENDPOINT_URL_{name}")].as_str()));
    let used = Watch::of(&watched).await;
    stage.dispatcher(LONG, &used.variables());
    let tasks =
        [probe("migrate").undoes(), probe("seed").needs(&["migrate"]), probe("assets").once_per_content()];
    stage.install_all(&tasks);
    assert_eq!(stage.send(&event("Create", "r1", "1", &tasks)).await["Status"], "SUCCESS");
    stage.install(&tasks[0].clone().mode("fail"));
    assert_eq!(stage.send(&event("Update", "r2", "2", &tasks)).await["Status"], "FAILED");
    roll_back(&stage, ["r3", "r4"], &tasks).await;
    assert_eq!(used.take(), allowed("LamplighterDispatcherRole"));

    stage.status_of_events();
    stage.register(FALLBACK, LONG, &used.variables());
    stage.host.register(FunctionSpec {
        on_failure: Some(FALLBACK.to_owned()),
        ..FunctionSpec::new(DISPATCHER, "/bin/false")
    });
    assert_eq!(stage.send(&event("Update", "r5", "5", &tasks)).await["Status"], "FAILED");
    roll_back(&stage, ["r6", "r7"], &tasks).await;
    assert_eq!(used.take(), allowed("LamplighterFallbackRole"));
    stage.end().await;
}

/// Sends an update that meets a rollback, which only the stack's events show, and then the rollback.
async fn roll_back(stage: &Stage, requests: [&str; 2], tasks: &[Probe]) {
    let overtaken = event("Update", requests[0], "3", tasks);
    stage.publish(&overtaken);
    stage.status("UPDATE_ROLLBACK_IN_PROGRESS");
    assert_eq!(stage.send(&overtaken).await["Status"], "FAILED");
    assert_eq!(stage.send(&back(requests[1], "1", "2", tasks)).await["Status"], "SUCCESS");
}
