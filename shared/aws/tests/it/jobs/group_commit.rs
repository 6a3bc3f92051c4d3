//! Starts and ends of jobs that share a commit.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use lamplighter_aws::{
    jobs::JobOutcome,
    table::{AbortOutcome, GroupCommit, Item, JobEnd, JobRecord, JobStart, JobStep, StepOutcome, Transport},
};
use lamplighter_core::{
    definition::Priority,
    id::RunId,
    job::{Job, JobKey, Limit, NewJob, Refusal, StartRequest, When},
    run::Run,
    status::Status,
};
use lamplighter_local::LocalCommit;

use super::{enqueue, jobs, new, succeed, tried, worker};
use crate::support::{Embedded, embedded};

/// An engine that counts its commits.
struct Counted {
    engine: LocalCommit,
    changes: AtomicUsize,
}

impl Counted {
    fn of(embedded: &Embedded) -> Arc<Self> {
        Arc::new(Self { engine: embedded.engine.local_commit(), changes: AtomicUsize::new(0) })
    }
}

impl GroupCommit for Counted {
    fn change(
        &self,
        table: &str,
        keys: &[(String, String)],
        decide: &mut dyn FnMut(usize, Option<Item>) -> Option<Item>,
    ) -> Result<(), String> {
        self.changes.fetch_add(1, Relaxed);
        self.engine.change(table, keys, decide)
    }
}

#[tokio::test]
async fn concurrent_starts_and_ends_share_commits_and_each_job_has_one_record() {
    let embedded = embedded().await;
    let counted = Counted::of(&embedded);
    let jobs = jobs(&embedded).with_group_commit(Arc::clone(&counted) as Arc<dyn GroupCommit>);
    let keys = jobs.enqueue_many((0..60).map(|_| new()).collect()).await.unwrap();
    embedded.meter.spent();
    let processing = keys.iter().enumerate().map(async |(i, key)| {
        let worker = worker(&format!("w{i}"));
        jobs.process(key, &worker, async |job| {
            tokio::task::yield_now().await;
            tried(job, None)
        })
        .await
        .unwrap()
    });
    for (outcome, key) in futures::future::join_all(processing).await.into_iter().zip(&keys) {
        let JobOutcome::Over(run) = outcome else { panic!("{outcome:?}") };
        assert_eq!((run.id, run.status, run.fencing_token), (key.run_id, Status::Completed, 1));
        assert_eq!(jobs.wait(key, Duration::ZERO).await.unwrap().as_ref(), Some(&*run));
    }
    let spent = embedded.meter.spent();
    let count = |of: &str| spent.iter().filter(|(operation, _)| operation == of).count();
    let changes = counted.changes.load(Relaxed);
    assert!((2..20).contains(&changes), "{changes}");
    assert!(count("UpdateItem") + count("PutItem") < 4, "{spent:?}");
    assert!(jobs.table().due_for_runner(&keys[0].task, Priority::default(), 1).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_refused_step_does_not_affect_the_others_of_its_commit() {
    let embedded = embedded().await;
    let jobs = jobs(&embedded).with_group_commit(Counted::of(&embedded));
    let usual = enqueue(&jobs, new()).await;
    let aborted = enqueue(&jobs, new()).await;
    assert!(matches!(jobs.abort(&aborted).await.unwrap(), AbortOutcome::Ended(..)));
    let later = NewJob { when: When::In(Duration::from_secs(60)), ..new() };
    let later = enqueue(&jobs, later).await;
    let limit = Limit { key: "ada".into(), at_once: 1 };
    let limited = enqueue(&jobs, NewJob { limit: Some(limit), ..new() }).await;
    let first = enqueue(&jobs, new()).await;
    let second = enqueue(&jobs, NewJob { after: vec![first.clone()], ..new() }).await;
    let unknown = JobKey { run_id: RunId::new(Timestamp::now(), 7), ..usual.clone() };
    let process_all = async |keys: &[&JobKey]| {
        let processing = keys.iter().map(async |key| {
            jobs.process(key, &worker(&key.to_string()), async |job| tried(job, None)).await.unwrap()
        });
        futures::future::join_all(processing).await
    };
    let outcomes = process_all(&[&usual, &aborted, &later, &limited, &second, &unknown]).await;
    let statuses: Vec<_> = outcomes
        .iter()
        .map(|outcome| match outcome {
            JobOutcome::Over(run) => run.status.as_str(),
            JobOutcome::Refused(Refusal::NotBefore { .. }) => "not before",
            JobOutcome::Refused(Refusal::Waits) => "waits",
            JobOutcome::Unknown => "unknown",
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(statuses, ["COMPLETED", "CANCELLED", "not before", "COMPLETED", "waits", "unknown"]);
    // The end of the first job wakes its followers, which a transaction would not report.
    let beside = enqueue(&jobs, new()).await;
    let outcomes = process_all(&[&beside, &first]).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, JobOutcome::Over(_))), "{outcomes:?}");
    let Some(JobRecord::Open(woken)) = jobs.find(&second).await.unwrap() else { panic!("it is over") };
    assert_eq!(woken.after, []);
    assert_eq!(succeed(&jobs, &second).await.status, Status::Completed);
}

#[tokio::test]
async fn a_step_takes_effect_once_although_its_response_is_lost() {
    let embedded = embedded().await;
    let engine = Counted::of(&embedded);
    let jobs = jobs(&embedded);
    let table = jobs.table();
    let take = |steps| table.commit_steps(&*engine, steps, Transport::Runner);
    let mut open = Vec::new();
    for _ in 0..3 {
        let key = enqueue(&jobs, new()).await;
        let Some(JobRecord::Open(job)) = jobs.find(&key).await.unwrap() else { panic!("it is over") };
        open.push(*job);
    }
    let now = Timestamp::now();
    let request = StartRequest { holder: "w".into(), now, until: worker("w").until, max_attempts: 3 };
    let step = |job: &Job| JobStep::Start(job.key(), request.clone());
    // An invalid commit applies none of its steps.
    assert!(take(vec![step(&open[0]), step(&open[1]), step(&open[0])]).is_err());
    let started = jobs.start(&open[1].key(), &worker("other")).await.unwrap().done().unwrap();
    assert_eq!(started.fencing_token, 1);
    let granted = |job: &Job| Some(StepOutcome::Started(Box::new(job.clone().started(&request))));
    let wanted = [granted(&open[0]), None, granted(&open[2])];
    assert_eq!(take(open.iter().map(step).collect()).unwrap(), wanted);
    // The response was lost: the worker repeats its request alone and gets the job as it was started.
    let again = jobs.start(&open[0].key(), &worker("w")).await.unwrap().done().unwrap();
    let granted = open[0].clone().started(&request);
    assert_eq!((again.fencing_token, again.started_at), (granted.fencing_token, granted.started_at));
    assert_eq!((again.status, &again.arguments), (Status::Running, &granted.arguments));
    // An end whose response was lost is recognised as the worker's own. A zombie's end is refused.
    let run = tried(&again, None).run;
    let run = Run { fencing_token: 1, arguments: again.arguments.clone(), ..run };
    let zombie = Job { fencing_token: 0, ..again.clone() };
    assert_eq!(take(vec![table.end_step(&zombie, &run).unwrap()]).unwrap(), [None]);
    assert_eq!(take(vec![table.end_step(&again, &run).unwrap()]).unwrap(), [Some(StepOutcome::Ended)]);
    assert_eq!(take(vec![table.end_step(&again, &run).unwrap()]).unwrap(), [None]);
    assert_eq!(table.end_job(&again, &run).await.unwrap(), JobEnd::Written(Vec::new()));
    let other = Run { message: Some("another".into()), ..run.clone() };
    assert_eq!(table.end_job(&again, &other).await.unwrap(), JobEnd::Before(Box::new(run)));
}

#[tokio::test]
async fn a_step_writes_the_same_record_as_a_single_request() {
    let embedded = embedded().await;
    let engine = Counted::of(&embedded);
    let item = async |key: &JobKey| {
        let get = embedded.table.client().get_item().table_name("lamplighter");
        let pk = AttributeValue::S(format!("RUNS#{}#{}", key.task, key.run_id.shard()));
        let get = get.key("pk", pk).key("sk", AttributeValue::S(key.run_id.to_string()));
        get.send().await.unwrap().item.unwrap()
    };
    for transport in [Transport::Runner, Transport::Queue] {
        let jobs = jobs(&embedded);
        let table = jobs.table();
        let (alone, together) = (enqueue(&jobs, new()).await, enqueue(&jobs, new()).await);
        let now = Timestamp::now();
        let request = StartRequest { holder: "w".into(), now, until: worker("w").until, max_attempts: 3 };
        let JobStart::Granted(job) = table.start_job(&alone, &request, transport).await.unwrap() else {
            panic!()
        };
        let step = JobStep::Start(together.clone(), request);
        let taken = table.commit_steps(&*engine, vec![step], transport).unwrap();
        let [Some(StepOutcome::Started(other))] = &taken[..] else { panic!("{taken:?}") };
        let same = |mut one: Item, other: Item| {
            for name in ["pk", "sk", "id"] {
                one.insert(name.into(), other[name].clone());
            }
            assert_eq!(one, other);
        };
        same(item(&alone).await, item(&together).await);
        let run = tried(&job, None).run;
        assert_eq!(table.end_job(&job, &run).await.unwrap(), JobEnd::Written(Vec::new()));
        let run = Run { id: together.run_id, ..run };
        let ended = table.commit_steps(&*engine, vec![table.end_step(other, &run).unwrap()], transport);
        assert_eq!(ended.unwrap(), [Some(StepOutcome::Ended)]);
        same(item(&alone).await, item(&together).await);
    }
}
