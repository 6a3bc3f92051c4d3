//! The table on a real engine: the lease under races and lost responses, and the cost of a run.

use std::{collections::BTreeMap, time::Duration};

use crate::support::{Embedded, embedded};
use aws_sdk_dynamodb::types::{AttributeValue, Put};
use jiff::Timestamp;
use lamplighter_aws::table::{CommitError, Recorded, Seen, TransactWriteItem};
use lamplighter_core::{
    claim::{Decision, Fence, Grant, Occasion, Refusal, Request, TaskState, claim},
    definition::{Overlap, Priority},
    deployment::{Deployment, EntryKey},
    id::RunId,
    job::{Limit, OnConflict, Scope, Unique},
    name::TaskName,
    reason::{Moment, Reason},
    run::{Attempt, Run, Trigger},
    status::Status,
};
use proptest::{prelude::*, test_runner::TestRunner};
use serde_json::json;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn task() -> TaskName {
    "run-migrations".parse().unwrap()
}

fn request(run: u128, now: i64, occasion: Occasion) -> Request {
    Request {
        run_id: RunId::new(at(0), run),
        holder: format!("holder-{run}-{now}").into(),
        trigger: Trigger::Manual,
        occasion,
        overlap: Overlap::Skip,
        runs_once: false,
        now: at(now),
        until: at(now + 10),
    }
}

fn run(request: &Request, fence: Fence, status: Status) -> Run {
    Run {
        id: request.run_id,
        task: task(),
        status,
        trigger: request.trigger,
        scheduled_for: None,
        deployment: None,
        retry_of: Some(RunId::new(at(0), 7)),
        priority: Priority::High,
        unique: Some(Unique {
            scope: Scope::Key("ada".into()),
            within: Duration::from_secs(60),
            on_twin: OnConflict::Join,
        }),
        place_limit: Some(Limit { key: "ada".into(), at_once: 2 }),
        started_at: request.now,
        completed_at: request.now.checked_add(Duration::from_millis(1500)).unwrap(),
        attempts: vec![Attempt { started_at: request.now, duration_ms: 1500, error: None }],
        config: json!({ "batch": 100, "dry_run": false }),
        arguments: serde_json::Value::Null,
        message: Some("applied 3 migrations".into()),
        data: Some(json!(["V1__users", "V2__orders"])),
        error: None,
        skipped_reason: None,
        why: None,
        environment: "dev".into(),
        fencing_token: fence.token(),
        log: Some("/aws/lambda/shop-run-migrations 2027/01/15/[$LATEST]5b2f".into()),
        large: BTreeMap::new(),
    }
}

async fn granted(embedded: &Embedded, request: &Request) -> Grant {
    match embedded.table.claim(&task(), request).await.unwrap() {
        Decision::Granted(grant) => grant,
        Decision::Refused(refusal) => panic!("refused: {refusal}"),
    }
}

#[tokio::test]
async fn a_recorded_run_costs_three_write_units_and_no_read_and_a_refused_claim_one() {
    let embedded = embedded().await;
    let first = request(1, 0, Occasion::Tick(at(0)));
    let grant = granted(&embedded, &first).await;
    assert_eq!(embedded.meter.spent(), [("UpdateItem".into(), Some(1.0))]);

    let refused = embedded.table.claim(&task(), &request(2, 1, Occasion::Tick(at(60)))).await.unwrap();
    assert!(matches!(refused, Decision::Refused(_)));
    // A refused write costs as much as the write itself, but the service does not report the cost. The writes before
    // and after it show that the item has the size of one unit.
    assert_eq!(embedded.meter.spent(), [("UpdateItem".into(), None)]);

    let recorded =
        embedded.table.finish(&run(&first, grant.fence, Status::Completed), grant.fence).await.unwrap();
    assert_eq!(recorded, Recorded::Written);
    assert_eq!(embedded.meter.spent(), [("PutItem".into(), Some(1.0)), ("UpdateItem".into(), Some(1.0))]);
}

#[tokio::test]
async fn c14_an_overlapping_run_with_settings_costs_three_write_units_too() {
    let embedded = embedded().await;
    embedded
        .table
        .set(&task(), Some(r#"{"overlap":"allow","priority":"high","retention_days":7}"#))
        .await
        .unwrap();
    // The holder is as long as in Lambda. With more than three concurrent runs the item exceeds 1 KB.
    let holder = "8476a536-e9f4-11e8-9739-2dfe598c3fcd#0123456789abcdef";
    let beside = |run, now| Request {
        overlap: Overlap::Allow,
        holder: holder.into(),
        ..request(run, now, Occasion::Tick(at(now)))
    };
    granted(&embedded, &beside(1, 1)).await;
    granted(&embedded, &beside(2, 2)).await;
    embedded.meter.spent();
    let last = beside(3, 3);
    let grant = granted(&embedded, &last).await;
    assert_eq!(embedded.meter.spent(), [("UpdateItem".into(), Some(1.0))]);
    assert!(grant.settings.is_some(), "the claim returns the settings");
    let run = run(&last, grant.fence, Status::Completed);
    let _ = embedded.table.finish(&run, grant.fence).await.unwrap();
    assert_eq!(embedded.meter.spent(), [("PutItem".into(), Some(1.0)), ("UpdateItem".into(), Some(1.0))]);
}

/// The fields of a reason have at most 150 bytes, so that the largest kind of record still fits into 1 KB.
#[tokio::test]
async fn k05_a_reason_survives_its_record_and_keeps_it_within_one_write_unit() {
    let embedded = embedded().await;
    let request = request(1, 0, Occasion::Tick(at(0)));
    let (run_id, until) = (RunId::new(at(0), 9), at(60));
    for (number, reason) in [
        Reason::Disabled,
        Reason::NotReplaced { run_id, until },
        Reason::DependencyFailed { task: task(), run_id, status: Status::Cancelled },
        Reason::JobNotCompleted { task: task(), run_id, status: Status::Cancelled },
        Reason::Lost { until },
        Reason::Expired { start_by: until },
        Reason::TimedOut { after_ms: 899_000, since: Moment::AttemptBegan { attempt: 3 } },
        Reason::of_function(&"Runtime.ExitError: Runtime exited with error: signal: killed", false),
    ]
    .into_iter()
    .enumerate()
    {
        let fields = serde_json::to_string(&reason).unwrap();
        assert!(fields.len() <= 150, "{fields}");
        let run = run(&request, Fence::Exclusive { token: 1 }, Status::Failed);
        let id = RunId::new(at(0), 100 + u128::try_from(number).unwrap());
        let run = Run { id, message: None, data: None, ..run }.because(reason);
        assert_eq!(embedded.table.record(&run).await.unwrap(), Recorded::Written);
        assert_eq!(embedded.meter.spent(), [("PutItem".into(), Some(1.0))], "{fields}");
        assert_eq!(embedded.table.run(&task(), id).await.unwrap(), Some(run));
        embedded.meter.spent();
    }
}

#[tokio::test]
async fn c13_of_twenty_racing_claims_one_is_granted() {
    let embedded = embedded().await;
    for round in 0..50 {
        let now = round * 100;
        let requests: Vec<_> = (0..20).map(|i| request(i, now, Occasion::Manual)).collect();
        let task = task();
        let claims = requests.iter().map(|request| embedded.table.claim(&task, request));
        let decisions = futures::future::try_join_all(claims).await.unwrap();
        let granted = decisions.iter().filter(|d| matches!(d, Decision::Granted(_))).count();
        assert_eq!(granted, 1, "round {round}");
    }
}

/// The condition of the table's write and the rule of `core` give the same decision for every sequence of requests.
#[test]
fn the_tables_condition_is_the_pure_rule() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let step = (0_u128..3, 0_i64..8, 0_i64..5, 0_u8..4, 0_u8..7, any::<bool>());
    let mut runner =
        TestRunner::new(ProptestConfig { cases: 40, failure_persistence: None, ..Default::default() });
    runner
        .run(&prop::collection::vec(step, 1..25), |steps| {
            runtime.block_on(async {
                let embedded = embedded().await;
                let mut model = TaskState::default();
                let mut now = 0;
                for (i, (who, wait, nth, kind, then, shared)) in steps.into_iter().enumerate() {
                    now += wait;
                    let occasion = match kind {
                        0 => Occasion::Manual,
                        1 => Occasion::Tick(at(nth)),
                        _ => Occasion::Deployment {
                            ledger: format!("stack#{kind}"),
                            entry: format!("{:.3}#r", at(nth)).parse().unwrap(),
                        },
                    };
                    let holder = i.to_string().into();
                    let overlap = if shared { Overlap::Allow } else { Overlap::Skip };
                    let request =
                        Request { holder, overlap, runs_once: then >= 5, ..request(who, now, occasion) };
                    let decision = embedded.table.claim(&task(), &request).await.unwrap();
                    prop_assert_eq!(&decision, &claim(&model, &request));
                    if let Decision::Granted(grant) = decision {
                        // The claim has released each lost run, with the status of its record.
                        for lost in &grant.lost {
                            let run = embedded.table.run(&task(), lost.lease.run_id).await.unwrap().unwrap();
                            model = model.released(run.id, lost.fence, run.status);
                        }
                        model = model.claimed(&request, grant.fence);
                        if then == 0 || then == 5 {
                            // A run id that already has a record keeps it.
                            let run = run(&request, grant.fence, Status::Completed);
                            let status = match embedded.table.finish(&run, grant.fence).await.unwrap() {
                                Recorded::Written => run.status,
                                Recorded::Before(stands) => stands.status,
                            };
                            model = model.released(run.id, grant.fence, status);
                        }
                    }
                    if then == 1 {
                        model.disabled = !model.disabled;
                        embedded.table.enable(&task(), !model.disabled).await.unwrap();
                    }
                    if then == 2 {
                        let held = model.lease.iter_mut().chain(&mut model.shared);
                        let asked = held.into_iter().find(|lease| lease.run_id == request.run_id);
                        let cancelled = embedded.table.cancel(&task(), request.run_id).await.unwrap();
                        prop_assert_eq!(cancelled, asked.is_some());
                        if let Some(lease) = asked {
                            lease.cancelled = true;
                        }
                    }
                    if then == 3 {
                        model.settings = shared.then(|| format!(r#"{{"retention_days":{}}}"#, nth + 1));
                        embedded.table.set(&task(), model.settings.as_deref()).await.unwrap();
                    }
                    prop_assert_eq!(&embedded.table.state(&task()).await.unwrap(), &model);
                }
                Ok(())
            })
        })
        .unwrap();
}

#[tokio::test]
async fn a_claim_whose_response_was_lost_still_belongs_to_its_claimant() {
    let embedded = embedded().await;
    let first = request(1, 0, Occasion::Tick(at(0)));
    let grant = granted(&embedded, &first).await;
    assert_eq!(granted(&embedded, &first).await, Grant { lost: Vec::new(), ..grant });
    let delivered_again = Request { holder: "another".into(), ..first.clone() };
    assert_eq!(
        embedded.table.claim(&task(), &delivered_again).await.unwrap(),
        Decision::Refused(Refusal::AlreadyRunning { run_id: first.run_id })
    );
}

#[tokio::test]
async fn c15_a_lost_run_ends_failed_and_its_zombie_can_neither_record_nor_release() {
    let embedded = embedded().await;
    let first = request(1, 0, Occasion::Manual);
    let zombie = granted(&embedded, &first).await;
    let second = request(2, 11, Occasion::Manual);
    let grant = granted(&embedded, &second).await;
    assert_eq!(grant.fence.token(), zombie.fence.token() + 1);

    let lost = embedded.table.run(&task(), first.run_id).await.unwrap().unwrap();
    assert_eq!(lost.status, Status::Failed);
    assert_eq!(lost.why, Some(Reason::Lost { until: first.until }));
    assert!(lost.reason().unwrap().starts_with("lost: "), "{lost:?}");

    let late =
        embedded.table.finish(&run(&first, zombie.fence, Status::Completed), zombie.fence).await.unwrap();
    assert_eq!(late, Recorded::Before(Box::new(lost)));
    let lease = embedded.table.state(&task()).await.unwrap().lease.unwrap();
    assert_eq!(lease.run_id, second.run_id);
}

/// In an earlier version the claim replaced the lost run's lease before it wrote the run's record. If the process died
/// in between, the table had no trace of the run.
#[tokio::test]
async fn c15_a_lost_run_is_recorded_although_its_finder_dies() {
    for requests in 0..6 {
        let embedded = embedded().await;
        let first = request(1, 0, Occasion::Manual);
        granted(&embedded, &first).await;
        let second = request(2, 11, Occasion::Manual);
        let _ = embedded.dying_after(requests).claim(&task(), &second).await;
        let recorded = || async { embedded.table.run(&task(), first.run_id).await.unwrap() };
        let held = embedded.table.state(&task()).await.unwrap().leases().any(|it| it.run_id == first.run_id);
        assert!(held || recorded().await.is_some(), "after {requests} requests");

        granted(&embedded, &request(3, 30, Occasion::Manual)).await;
        assert_eq!(recorded().await.unwrap().status, Status::Failed, "after {requests} requests");
    }
}

#[tokio::test]
async fn a_run_wrongly_taken_for_lost_by_a_dead_finder_releases_itself() {
    let embedded = embedded().await;
    let first = request(1, 0, Occasion::Manual);
    let grant = granted(&embedded, &first).await;
    let lost = embedded.table.state(&task()).await.unwrap().lost(at(11)).remove(0);
    embedded.dying_after(1).with_environment("dev").end_lost(&task(), &lost, at(11)).await.unwrap_err();
    let done = run(&first, grant.fence, Status::Completed);
    let finished = embedded.table.finish(&done, grant.fence).await.unwrap();
    let Recorded::Before(stands) = finished else { panic!("{finished:?}") };
    let state = embedded.table.state(&task()).await.unwrap();
    assert_eq!((stands.status, state.lease), (Status::Failed, None));
    assert_eq!(state.last_run.unwrap().status, Status::Failed, "the status of the stored record");
}

/// An author's own write, in a transaction.
fn effect(name: &str) -> TransactWriteItem {
    let put = Put::builder().table_name("lamplighter").item("pk", text(name)).item("sk", text("EFFECT"));
    let put = put.condition_expression("attribute_not_exists(pk)").build().unwrap();
    TransactWriteItem::builder().put(put).build()
}

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

#[tokio::test]
async fn a_zombies_commit_is_refused_and_the_next_runs_is_written() {
    for overlap in [Overlap::Skip, Overlap::Allow] {
        let embedded = embedded().await;
        let table = &embedded.table;
        let first = Request { overlap, ..request(1, 0, Occasion::Manual) };
        let zombie = granted(&embedded, &first).await;
        table.commit(&task(), first.run_id, zombie.fence, vec![effect("a")]).await.unwrap();
        let second = Request { overlap, ..request(2, 11, Occasion::Manual) };
        let grant = granted(&embedded, &second).await;
        let late = table.commit(&task(), first.run_id, zombie.fence, vec![effect("b"), effect("c")]).await;
        assert!(matches!(late, Err(CommitError::LostHold)), "{late:?}");
        // If one of the zombie's writes had been committed, this commit would be refused.
        table.commit(&task(), second.run_id, grant.fence, vec![effect("b"), effect("c")]).await.unwrap();
        let refused = table.commit(&task(), second.run_id, grant.fence, vec![effect("d"), effect("c")]).await;
        assert!(matches!(refused, Err(CommitError::Refused { index: 1 })), "{refused:?}");
        table.commit(&task(), second.run_id, grant.fence, vec![effect("d")]).await.unwrap();
    }
}

#[tokio::test]
async fn c18_a_terminal_record_never_changes_and_is_read_as_written() {
    let embedded = embedded().await;
    let first = request(1, 0, Occasion::Tick(at(0)));
    let grant = granted(&embedded, &first).await;
    let completed = run(&first, grant.fence, Status::Completed);
    assert_eq!(embedded.table.finish(&completed, grant.fence).await.unwrap(), Recorded::Written);
    assert_eq!(
        embedded.table.finish(&completed, grant.fence).await.unwrap(),
        Recorded::Written,
        "a repeated write"
    );
    let failed = run(&first, grant.fence, Status::Failed);
    assert_eq!(
        embedded.table.finish(&failed, grant.fence).await.unwrap(),
        Recorded::Before(Box::new(completed.clone()))
    );
    assert_eq!(embedded.table.run(&task(), first.run_id).await.unwrap(), Some(completed));
}

#[tokio::test]
async fn each_reader_that_finds_a_lost_run_ends_it() {
    let embedded = embedded().await;
    let first = request(1, 0, Occasion::Manual);
    granted(&embedded, &first).await;
    let state = embedded.table.state(&task()).await.unwrap();
    assert_eq!(state.lost(at(10)), [], "a lease is valid until its end");
    let lost = state.lost(at(11)).remove(0);
    let ended = embedded.table.end_lost(&task(), &lost, at(11)).await.unwrap();
    assert_eq!(ended.status, Status::Failed);
    assert_eq!(embedded.table.state(&task()).await.unwrap().lease, None);
}

/// A command that only reads the history also ends lost runs, and has no environment of its own.
#[tokio::test]
async fn a_lost_run_is_recorded_with_the_environment_of_its_claim() {
    for overlap in [Overlap::Skip, Overlap::Allow] {
        let embedded = embedded().await;
        let first = Request { overlap, ..request(1, 0, Occasion::Manual) };
        let own = embedded.table.clone().with_environment("prod");
        assert!(matches!(own.claim(&task(), &first).await.unwrap(), Decision::Granted(_)));
        let Seen::Over(run) = embedded.table.look(&task(), first.run_id, at(11)).await.unwrap() else {
            panic!("it is over")
        };
        assert_eq!((run.status, run.environment.as_str()), (Status::Failed, "prod"), "{overlap:?}");
    }
}

#[tokio::test]
async fn l18_a_prevented_run_does_not_begin_and_a_running_one_continues() {
    let embedded = embedded().await;
    let deployment = |second| Deployment {
        ledger: "shop#Tasks".into(),
        entry: EntryKey::new(at(second), "request"),
        version: "1".into(),
        previous_version: None,
        is_first_deploy: true,
        rolled_back_version: None,
    };
    let occasion = |second| {
        let Deployment { ledger, entry, .. } = deployment(second);
        Occasion::Deployment { ledger, entry }
    };
    assert!(embedded.table.prevent_start(&task(), &deployment(1)).await.unwrap());
    let decision = embedded.table.claim(&task(), &request(1, 5, occasion(1))).await.unwrap();
    assert!(matches!(decision, Decision::Refused(Refusal::AlreadyRan { .. })), "{decision:?}");
    granted(&embedded, &request(2, 5, occasion(2))).await;
    for begun in [1, 2] {
        assert!(!embedded.table.prevent_start(&task(), &deployment(begun)).await.unwrap());
    }
    let state = embedded.table.state(&task()).await.unwrap();
    assert_eq!(state.lease.unwrap().run_id, request(2, 5, occasion(2)).run_id, "its lease is unchanged");
}

#[tokio::test]
async fn values_of_users_are_read_as_written() {
    let embedded = embedded().await;
    let deep = (0..60).fold(json!(null), |inner, _| json!([inner]));
    let brought =
        json!({ "": "", "größe": 1e300, "deep": deep, "n": u64::MAX, "null": null, "🕯": ["a", {}] });
    let request = request(1, 0, Occasion::Manual);
    let kept = Run {
        data: Some(brought.clone()),
        config: brought,
        ..run(&request, Fence::Shared, Status::Completed)
    };
    assert_eq!(embedded.table.record(&kept).await.unwrap(), Recorded::Written);
    assert_eq!(embedded.table.run(&task(), request.run_id).await.unwrap(), Some(kept));
}

#[tokio::test]
async fn data_too_large_for_an_item_is_refused_with_its_size() {
    let embedded = embedded().await;
    let request = request(1, 0, Occasion::Manual);
    let large =
        Run { data: Some(json!("x".repeat(400_000))), ..run(&request, Fence::Shared, Status::Completed) };
    let error = embedded.table.record(&large).await.unwrap_err().to_string();
    assert!(
        error.contains(
            "data has 400002 bytes, and the table alone keeps at most 300000: set LAMPLIGHTER_BUCKET"
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_missing_table_is_named() {
    let embedded = embedded().await;
    let elsewhere = lamplighter_aws::table::Table::new(embedded.table.client().clone(), "elsewhere");
    let error = elsewhere.state(&task()).await.unwrap_err().to_string();
    assert!(error.starts_with("table `elsewhere`: read a task: "), "{error}");
}

#[path = "table/ledger.rs"]
mod ledger;
