//! The deployments' ledgers.

use lamplighter_aws::table::{LEDGER_RETENTION, Opened, RequestKey};
use lamplighter_core::deployment::{
    Answered, Change, Course, Entry, Latest, Plan, PlannedTask, Properties, Request, Situation, StackPhase,
    plan,
};

use super::*;

const LEDGER: &str = "arn:shop#LamplighterBefore";

fn key(id: &str) -> RequestKey<'_> {
    RequestKey { ledger: LEDGER, id }
}

fn entry(id: &str, now: i64) -> Entry {
    let request = Request {
        change: Change::Create,
        request_id: id.into(),
        ledger: LEDGER.into(),
        version: "1".into(),
        old_version: None,
        properties: Properties::of_text("1"),
        old_properties: None,
        sent_at: None,
        tasks: vec![PlannedTask {
            name: task(),
            function: "shop-run-migrations".into(),
            run_on: ["deploy", "update"].iter().map(|w| w.parse().unwrap()).collect(),
            depends_on: vec![],
            once_per: "content".parse().unwrap(),
            rollback: true,
            timeout: Duration::from_secs(120),
        }],
    };
    let contents = BTreeMap::from([(task(), "sha256".to_owned())]);
    let phase = Some(StackPhase::Creating);
    let situation = Situation {
        course: Course::Deploy,
        phase,
        contents: &contents,
        last_call: at(9999),
        went_forward: None,
        rolled_back: false,
    };
    match plan(&request, &lamplighter_core::deployment::Ledger::default(), &situation, at(now), || 7).unwrap()
    {
        Plan::Open(entry) => entry,
        other => panic!("not opened: {other:?}"),
    }
}

fn answer(body: &str) -> Answered {
    Answered {
        success: true,
        body: body.into(),
        at: at(5),
        delivered_to: Vec::new(),
        sending_to: Vec::new(),
        sent_at: None,
    }
}

#[tokio::test]
async fn an_entry_is_read_as_written() {
    let embedded = embedded().await;
    let table = &embedded.table;
    assert_eq!(table.ledger(LEDGER, None).await.unwrap().latest, None);
    let mut first = entry("r1", 0);
    first.kept = first.tasks.clone();
    first.tasks[0].undoes = vec![first.tasks[0].run_id];
    assert_eq!(table.open(&first, None).await.unwrap(), Opened::Yes);
    let received = table.receive(key("r1"), at(9)).await.unwrap();
    assert_eq!(
        (received.first_at, received.entry.as_ref(), received.answer),
        (at(0), Some(&first.key), None)
    );
    let read = table.ledger(LEDGER, received.entry.as_ref()).await.unwrap();
    assert_eq!((read.own.as_ref(), read.newest.as_ref()), (Some(&first), Some(&first)));
    assert_eq!(table.entry_of(key("r1")).await.unwrap(), Some(first));
    let received = table.receive(key("r2"), at(9)).await.unwrap();
    assert_eq!((received.first_at, received.entry, received.answer), (at(9), None, None));
    assert_eq!(table.receive(key("r2"), at(10)).await.unwrap().first_at, at(9));
}

#[tokio::test]
async fn l14_of_two_deliveries_one_opens() {
    let embedded = embedded().await;
    let table = &embedded.table;
    assert_eq!(table.open(&entry("r1", 0), None).await.unwrap(), Opened::Yes);
    assert_eq!(table.open(&entry("r1", 1), None).await.unwrap(), Opened::Overtaken);
    let seen = table.ledger(LEDGER, None).await.unwrap().latest;
    // A delivery that has read the newest state is refused too, since the request has an entry.
    assert_eq!(table.open(&entry("r1", 2), seen.as_ref()).await.unwrap(), Opened::Overtaken);
    assert_eq!(table.open(&entry("r2", 2), seen.as_ref()).await.unwrap(), Opened::Yes);
    assert_eq!(table.open(&entry("r3", 3), seen.as_ref()).await.unwrap(), Opened::Overtaken);
}

#[tokio::test]
async fn l14_the_first_answer_stands() {
    let embedded = embedded().await;
    let table = &embedded.table;
    let mut first = entry("r1", 0);
    assert_eq!(table.open(&first, None).await.unwrap(), Opened::Yes);
    first.tasks[0].status = Status::Completed;
    let success = first.successful_after(true);
    assert_eq!(table.close(&first, &answer("one")).await.unwrap(), (answer("one"), true));
    assert_eq!(table.close(&first, &answer("two")).await.unwrap(), (answer("one"), false));
    table.delivered(key("r1"), Some(&first.key), "digest").await.unwrap();
    assert!(table.claim_sending(key("r1"), Some(&first.key), "digest", at(7)).await.unwrap());
    assert!(!table.claim_sending(key("r1"), Some(&first.key), "digest", at(8)).await.unwrap());
    assert!(table.claim_sending(key("r1"), Some(&first.key), "other", at(8)).await.unwrap());
    table.sending(key("r1"), Some(&first.key), at(8)).await.unwrap();

    let read = table.ledger(LEDGER, Some(&first.key)).await.unwrap();
    assert_eq!(read.latest.unwrap().successful, success);
    let stands = table.answered(key("r1"), Some(&first.key)).await.unwrap().unwrap();
    assert_eq!((stands.delivered_to.as_slice(), stands.sent_at), (&["digest".to_owned()][..], Some(at(8))));
}

#[tokio::test]
async fn d08_a_request_without_an_entry_has_one_answer() {
    let embedded = embedded().await;
    let table = &embedded.table;
    assert_eq!(table.answer(key("r1"), &answer("one")).await.unwrap(), Some((answer("one"), true)));
    assert_eq!(table.answer(key("r1"), &answer("two")).await.unwrap(), Some((answer("one"), false)));
    table.delivered(key("r1"), None, "digest").await.unwrap();
    let stands = table.receive(key("r1"), at(9)).await.unwrap().answer.unwrap();
    assert_eq!((stands.body.as_str(), stands.delivered_to), ("one", vec!["digest".to_owned()]));
    // A request that was answered cannot be opened. A request with an entry is answered through the entry.
    assert_eq!(table.open(&entry("r1", 0), None).await.unwrap(), Opened::Overtaken);
    assert_eq!(table.open(&entry("r2", 0), None).await.unwrap(), Opened::Yes);
    assert_eq!(table.answer(key("r2"), &answer("one")).await.unwrap(), None);
}

#[tokio::test]
async fn an_overtaken_deployment_is_answered_and_does_not_change_newer_ones() {
    let embedded = embedded().await;
    let table = &embedded.table;
    let first = entry("r1", 0);
    assert_eq!(table.open(&first, None).await.unwrap(), Opened::Yes);
    let seen = table.ledger(LEDGER, None).await.unwrap().latest;
    assert_eq!(table.open(&entry("r2", 1), seen.as_ref()).await.unwrap(), Opened::Yes);
    assert_eq!(table.close(&first, &answer("late")).await.unwrap(), (answer("late"), true));
    let latest = table.ledger(LEDGER, None).await.unwrap().latest.unwrap();
    assert_eq!((latest.entry.request_id(), latest.successful), ("r2", None));
}

/// Row 11: the ledger of many years.
#[tokio::test]
async fn d09_reads_do_not_grow_with_the_ledger_and_old_entries_expire() {
    let embedded = embedded().await;
    let table = &embedded.table;
    for i in 0..50 {
        let seen = table.ledger(LEDGER, None).await.unwrap().latest;
        assert_eq!(table.open(&entry(&format!("r{i}"), i), seen.as_ref()).await.unwrap(), Opened::Yes);
    }
    assert_eq!(table.deployments(LEDGER, 100).await.unwrap().len(), 50);
    let first = table.receive(key("r0"), at(60)).await.unwrap().entry;
    let read = table.ledger(LEDGER, first.as_ref()).await.unwrap();
    assert_eq!(read.own.unwrap().key.request_id(), "r0");
    assert_eq!(read.newest.unwrap().key.request_id(), "r49");
    let items = table.client().scan().table_name("lamplighter").send().await.unwrap().items.unwrap();
    let expires = |item: &lamplighter_aws::table::Item| item.get("expires_at").cloned();
    let (latest, others): (Vec<_>, Vec<_>) =
        items.iter().partition(|item| item["sk"].as_s().unwrap() == "LATEST");
    assert_eq!((latest.len(), expires(latest[0])), (1, None));
    let kept = i64::try_from(LEDGER_RETENTION.as_secs()).unwrap();
    assert_eq!(others.len(), 100);
    for item in others {
        let at: i64 = expires(item).unwrap().as_n().unwrap().parse().unwrap();
        assert!((0..51).contains(&(at - kept - self::at(0).as_second())), "{at}");
    }
}

#[tokio::test]
async fn d09_a_ledger_under_the_stacks_name_is_found_and_moved() {
    const BY_NAME: &str = "shop#LamplighterBefore";
    let embedded = embedded().await;
    let table = &embedded.table;
    let mut old = entry("r1", 0);
    old.deployment.ledger = BY_NAME.into();
    assert_eq!(table.open(&old, None).await.unwrap(), Opened::Yes);
    table.close(&old, &answer("one")).await.unwrap();
    table.move_ledger(BY_NAME, LEDGER).await.unwrap();
    let moved = table.ledger(LEDGER, None).await.unwrap();
    assert_eq!(moved.latest.as_ref().unwrap().successful.as_ref().unwrap().version, "1");
    assert_eq!(moved.newest.as_ref().unwrap().deployment.ledger, LEDGER);
    assert_eq!(table.receive(key("r1"), at(9)).await.unwrap().entry, Some(old.key.clone()));
    // If the new ledger has a newer entry, the old ledger does not replace it.
    assert_eq!(table.open(&entry("r2", 5), moved.latest.as_ref()).await.unwrap(), Opened::Yes);
    table.move_ledger(BY_NAME, LEDGER).await.unwrap();
    assert_eq!(table.ledger(LEDGER, None).await.unwrap().latest.unwrap().entry.request_id(), "r2");
    // After a rollback to the earlier version, the old ledger has a newer entry and replaces the new one.
    let mut newer = entry("r3", 7);
    newer.deployment.ledger = BY_NAME.into();
    let seen = table.ledger(BY_NAME, None).await.unwrap().latest;
    assert_eq!(table.open(&newer, seen.as_ref()).await.unwrap(), Opened::Yes);
    table.move_ledger(BY_NAME, LEDGER).await.unwrap();
    assert_eq!(table.ledger(LEDGER, None).await.unwrap().latest.unwrap().entry.request_id(), "r3");
}

#[tokio::test]
async fn a_deletion_is_recorded_unless_the_ledger_has_a_newer_entry() {
    let embedded = embedded().await;
    let table = &embedded.table;
    assert_eq!(table.open(&entry("r1", 0), None).await.unwrap(), Opened::Yes);
    let seen = table.latest(LEDGER).await.unwrap().unwrap();
    let gone = |second| Latest { deleted: Some(at(second)), ..seen.clone() };
    assert!(table.stand(LEDGER, Some(&seen), &gone(9)).await.unwrap());
    assert_eq!(table.latest(LEDGER).await.unwrap(), Some(gone(9)));
    // With the state from before the deletion, neither a deployment is opened nor another deletion recorded.
    assert_eq!(table.open(&entry("r2", 10), Some(&seen)).await.unwrap(), Opened::Overtaken);
    assert!(!table.stand(LEDGER, Some(&seen), &gone(11)).await.unwrap());
    assert_eq!(table.open(&entry("r2", 10), Some(&gone(9))).await.unwrap(), Opened::Yes);
    assert!(!table.stand(LEDGER, Some(&gone(9)), &gone(11)).await.unwrap());
    assert_eq!(table.latest(LEDGER).await.unwrap().unwrap().deleted, None);
    assert!(!table.stand(LEDGER, None, &gone(11)).await.unwrap());
    assert!(table.stand("arn:shop#New", None, &gone(11)).await.unwrap());
}
