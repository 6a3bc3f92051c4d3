//! The pulse's items on a real engine: one worker a minute, what is remembered, and many tasks at once.

#[expect(dead_code, reason = "the tests of the lease need more of it")]
mod support;

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use lamplighter_aws::table::{Notice, Recorded};
use lamplighter_core::{
    name::TaskName,
    pulse::{Record, State, Tally, Waiting, Why, run_id},
    run::{Run, Trigger},
    status::Status,
};
use support::{Embedded, embedded};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn name(text: &str) -> TaskName {
    text.parse().unwrap()
}

fn record(second: i64) -> Record {
    Record {
        started_at: at(second),
        duration_ms: None,
        tally: Tally::default(),
        misses: Vec::new(),
        errors: Vec::new(),
    }
}

async fn put(embedded: &Embedded, pk: &str, sk: &str, attribute: &str, value: AttributeValue) {
    let put = embedded.table.client().put_item().table_name(embedded.table.name());
    let keys = [("pk", pk), ("sk", sk)].map(|(key, text)| (key.to_owned(), AttributeValue::S(text.into())));
    put.set_item(Some(keys.into())).item(attribute, value).send().await.unwrap();
}

#[tokio::test]
async fn p02_of_eight_pulses_in_a_minute_one_does_the_work() {
    let embedded = embedded().await;
    let table = &embedded.table;
    let racers = (0..8).map(|second| async move { table.begin_pulse(&record(second)).await.unwrap() });
    let winners = futures::future::join_all(racers).await;
    assert_eq!(winners.iter().filter(|won| **won).count(), 1);
    assert!(table.begin_pulse(&record(60)).await.unwrap(), "the next minute is another one's");
    let mut over = record(60);
    (over.duration_ms, over.tally.due) = (Some(7), 3);
    table.end_pulse(&over).await.unwrap();
    let pulses = table.pulses(10).await.unwrap();
    assert_eq!((pulses.records.len(), &pulses.records[0]), (2, &over));
}

#[tokio::test]
async fn what_a_pulse_remembers_is_kept_unless_another_was_faster() {
    let embedded = embedded().await;
    let table = &embedded.table;
    let first = table.pulse_state().await.unwrap();
    assert_eq!(first, State::default());
    let waiting = |why: Why| Waiting { task: name("a"), tick: at(0), why, handed: None };
    let state = State {
        watermark: Some(at(60)),
        waiting: vec![waiting(Why::Running), waiting(Why::Dependency(name("b")))],
        cursor: Some(name("z")),
        heard: Some(at(30)),
    };
    assert!(table.keep_pulse_state(&state, &first).await.unwrap());
    assert_eq!(table.pulse_state().await.unwrap(), state);
    assert!(!table.keep_pulse_state(&State::default(), &first).await.unwrap(), "it was overtaken");
    assert_eq!(table.pulse_state().await.unwrap(), state);
}

#[tokio::test]
async fn many_tasks_are_read_together_and_one_that_cannot_be_read_is_named() {
    let embedded = embedded().await;
    let names: Vec<_> = (0..250).map(|i| name(&format!("t{i}"))).collect();
    for task in &names[..3] {
        embedded.table.enable(task, false).await.unwrap();
    }
    put(&embedded, "TASK#t7", "TASK", "run_id", AttributeValue::S("not an id".into())).await;
    embedded.meter.spent();
    let found = embedded.table.states(&names).await.unwrap();
    let requests: Vec<_> = embedded.meter.spent().into_iter().map(|(operation, _)| operation).collect();
    assert_eq!(requests, ["BatchGetItem"; 3]);
    assert_eq!(found.states.len(), 249);
    assert_eq!(found.states.values().filter(|state| state.disabled).count(), 3);
    let [unreadable] = &found.unreadable[..] else { panic!("{:?}", found.unreadable) };
    assert!(unreadable.to_string().contains("TASK#t7"), "{unreadable}");
}

#[tokio::test]
async fn runs_are_found_by_their_ids_and_by_their_tick() {
    let embedded = embedded().await;
    let table = &embedded.table;
    let task = name("a");
    let mut runs = BTreeMap::new();
    for second in [0, 60, 120] {
        let id = run_id(&task, at(second));
        let run = Run {
            status: Status::Completed,
            scheduled_for: Some(at(second)),
            ..Run::begun(id, task.clone(), Trigger::Pulse, at(second))
        };
        assert_eq!(table.record(&run).await.unwrap(), Recorded::Written);
        runs.insert(id, run);
    }
    let missing = run_id(&task, at(180));
    let wanted: Vec<_> = runs.keys().copied().chain([missing]).map(|id| (&task, id)).collect();
    let (ended, unreadable) = table.ended(wanted).await.unwrap();
    assert_eq!((ended.len(), unreadable.len()), (3, 0));
    assert_eq!(table.run_for(&task, at(60)).await.unwrap(), runs.get(&run_id(&task, at(60))).cloned());
    assert_eq!(table.run_for(&task, at(61)).await.unwrap(), None);
}

#[tokio::test]
async fn c10_a_blocked_tick_is_its_tasks_last_run_and_has_been_had() {
    let embedded = embedded().await;
    let table = &embedded.table;
    let blocked = |second| Run {
        status: Status::Blocked,
        scheduled_for: Some(at(second)),
        ..Run::begun(run_id(&name("a"), at(second)), name("a"), Trigger::Pulse, at(second))
    };
    table.note_blocked(&blocked(60)).await.unwrap();
    table.note_blocked(&blocked(0)).await.unwrap();
    let state = table.state(&name("a")).await.unwrap();
    assert_eq!((state.last_tick, state.failure_streak), (Some(at(60)), 1));
    assert_eq!(state.last_run.unwrap().status, Status::Blocked);
}

#[tokio::test]
async fn p06_a_failure_is_told_once_and_again_if_that_failed() {
    let embedded = embedded().await;
    let (table, task) = (&embedded.table, name("a"));
    let ask = async |second| table.notice(&task, "2027-01-15T08:00:00Z", at(second)).await.unwrap();
    assert_eq!([ask(0).await, ask(1).await], [Notice::Due, Notice::Given]);
    assert_eq!(ask(61).await, Notice::Due, "who began it has not come to its end");
    table.notified(&task, "2027-01-15T08:00:00Z", false).await.unwrap();
    assert_eq!(ask(62).await, Notice::Due);
    table.notified(&task, "2027-01-15T08:00:00Z", true).await.unwrap();
    assert_eq!([ask(63).await, ask(10_000).await], [Notice::Given, Notice::Given]);
}

#[tokio::test]
async fn a_record_and_a_state_that_cannot_be_read_are_named() {
    let embedded = embedded().await;
    put(&embedded, "PULSE", "2027-01-15T08:00Z", "due", AttributeValue::S("many".into())).await;
    put(&embedded, "PULSE", "STATE", "watermark", AttributeValue::S("yesterday".into())).await;
    embedded.table.begin_pulse(&record(60)).await.unwrap();
    let pulses = embedded.table.pulses(10).await.unwrap();
    assert_eq!((pulses.records.len(), pulses.unreadable.len()), (1, 1));
    assert!(pulses.unreadable[0].to_string().contains("PULSE / 2027-01-15T08:00Z"));
    let error = embedded.table.pulse_state().await.unwrap_err().to_string();
    assert!(error.contains("PULSE / STATE"), "{error}");
    embedded.table.forget_pulse_state().await.unwrap();
    assert_eq!(embedded.table.pulse_state().await.unwrap(), State::default());
}
