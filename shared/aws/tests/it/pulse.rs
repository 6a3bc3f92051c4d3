//! The pulse's items on a real engine: the claim of a minute, the stored state, and reads of many tasks at once.

use std::collections::BTreeMap;

use crate::support::{Embedded, embedded};
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use lamplighter_aws::table::Recorded;
use lamplighter_core::{
    claim::KnownSchedule,
    name::TaskName,
    notification::{Message, Redelivery},
    pulse::{Record, State, Tally, WaitReason, WaitingTick, run_id},
    run::{Run, Trigger},
    status::Status,
};

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
async fn p02_of_eight_pulses_in_a_minute_one_works() {
    let embedded = embedded().await;
    let table = &embedded.table;
    let racers = (0..8).map(|second| async move { table.begin_pulse(&record(second)).await.unwrap() });
    let winners = futures::future::join_all(racers).await;
    assert_eq!(winners.iter().filter(|won| **won).count(), 1);
    assert!(table.begin_pulse(&record(60)).await.unwrap(), "the next minute has a claim of its own");
    let mut over = record(60);
    (over.duration_ms, over.tally.due) = (Some(7), 3);
    table.end_pulse(&over).await.unwrap();
    let pulses = table.pulses(10).await.unwrap();
    assert_eq!((pulses.records.len(), &pulses.records[0]), (2, &over));
}

#[tokio::test]
async fn the_state_of_a_pulse_is_stored_unless_another_pulse_was_faster() {
    let embedded = embedded().await;
    let table = &embedded.table;
    let first = table.pulse_state().await.unwrap();
    assert_eq!(first, State::default());
    let waiting = |why: WaitReason| WaitingTick { task: name("a"), tick: at(0), why, handed: None };
    let state = State {
        watermark: Some(at(60)),
        waiting: vec![waiting(WaitReason::Running), waiting(WaitReason::Dependency(name("b")))],
        cursor: Some(name("z")),
        orphans_checked_until: Some(at(30)),
        plan: Some("7".into()),
        failing: Some(at(30)),
        letters: Some(at(20)),
    };
    assert!(table.keep_pulse_state(&state, &first).await.unwrap());
    assert_eq!(table.pulse_state().await.unwrap(), state);
    assert!(!table.keep_pulse_state(&State::default(), &first).await.unwrap(), "another pulse was faster");
    assert_eq!(table.pulse_state().await.unwrap(), state);
}

#[tokio::test]
async fn many_tasks_are_read_in_batches_and_an_unreadable_one_is_named() {
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
async fn c10_a_blocked_tick_is_the_last_run_of_its_task_and_is_not_repeated() {
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
async fn o08_a_message_is_stored_until_it_is_delivered_or_given_up() {
    let embedded = embedded().await;
    let table = &embedded.table;
    let message = |task: &str| Message {
        task: name(task),
        run_id: None,
        status: "MISSED".into(),
        kind: None,
        message: "no".into(),
        scheduled_for: None,
        environment: "dev".into(),
        stack: "shop".into(),
    };
    let outbox = async |second| table.outbox(at(second), 10).await.unwrap();
    assert!(table.post("x", &message("a"), at(0)).await.unwrap());
    assert!(!table.post("x", &message("a"), at(1)).await.unwrap(), "an occasion has one message");
    let found = outbox(1).await;
    assert_eq!((found.len(), &found[0].message, found[0].since), (1, &message("a"), at(0)));
    assert_eq!(outbox(2).await, [], "another process has claimed it");
    let again = outbox(62).await.remove(0);
    assert_eq!(again.failures, 0, "an expired claim does not count as a failed delivery");
    table.message_undelivered(&again, Redelivery::At(at(300)), "it answered 500").await.unwrap();
    assert_eq!(outbox(299).await, []);
    let third = outbox(301).await.remove(0);
    assert_eq!((third.failures, third.since), (1, at(0)));
    table.message_delivered(&third).await.unwrap();
    assert_eq!(outbox(10_000).await, []);
    assert!(!table.post("x", &message("a"), at(10_000)).await.unwrap(), "it is already delivered");
    assert_eq!(outbox(20_000).await, []);
    // Each message is claimed by one process only. A message that is given up is never sent again.
    for number in 0..30 {
        assert!(table.post(&format!("{number}"), &message("b"), at(0)).await.unwrap());
    }
    assert_eq!((table.outbox(at(1), 20).await.unwrap().len(), outbox(1).await.len()), (20, 10));
    for lost in table.outbox(at(100), 50).await.unwrap() {
        table.message_undelivered(&lost, Redelivery::GiveUp, "no").await.unwrap();
    }
    assert_eq!(outbox(1_000_000).await, []);
}

#[tokio::test]
async fn o08_the_first_sight_of_a_schedule_is_written_once_and_survives_runs() {
    let embedded = embedded().await;
    let table = &embedded.table;
    let known = |schedule: &str, second, is_changed| KnownSchedule {
        schedule: schedule.into(),
        since: at(second),
        is_changed,
    };
    let now = async || table.state(&name("a")).await.unwrap().known;
    assert_eq!(now().await, None);
    table.enable(&name("a"), false).await.unwrap();
    let first = known("@daily UTC", 0, false);
    table.know(&name("a"), &first, None).await.unwrap();
    table.know(&name("a"), &known("@daily UTC", 60, false), None).await.unwrap();
    assert_eq!(now().await, Some(first.clone()), "the first of two concurrent pulses stores it");
    let second = known("@hourly UTC", 90, true);
    table.know(&name("a"), &second, Some(&first)).await.unwrap();
    table.know(&name("a"), &known("@hourly UTC", 99, true), Some(&first)).await.unwrap();
    table.set(&name("a"), Some("{}")).await.unwrap();
    assert_eq!(now().await, Some(second));
    assert!(table.state(&name("a")).await.unwrap().disabled);
}

#[tokio::test]
async fn an_unreadable_record_and_an_unreadable_state_are_named() {
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
