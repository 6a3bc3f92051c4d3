//! The history on a real engine: pages and their cost, filters, cursors, unreadable items, and statistics.

use std::{collections::HashMap, time::Duration};

use crate::support::{Embedded, embedded};
use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use jiff::Timestamp;
use lamplighter_aws::table::{Cursor, History, LOOKED_AT, Page, Recorded};
use lamplighter_core::{
    claim::{Decision, Occasion, Request},
    definition::Overlap,
    id::RunId,
    name::TaskName,
    run::{Attempt, Run, Trigger},
    statistics::Window,
    status::Status,
};
use serde_json::json;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn task() -> TaskName {
    "purge-expired".parse().unwrap()
}

fn run(second: i64, status: Status, trigger: Trigger) -> Run {
    let started_at = at(second);
    let ran = status != Status::Skipped;
    let attempt = Attempt { started_at, duration_ms: 100, error: None };
    Run {
        status,
        completed_at: started_at + Duration::from_millis(100),
        attempts: if ran { vec![attempt] } else { Vec::new() },
        config: json!({ "batch": 100 }),
        ..Run::begun(RunId::new(started_at, 7), task(), trigger, started_at)
    }
}

async fn record(embedded: &Embedded, runs: impl IntoIterator<Item = Run>) {
    for run in runs {
        assert_eq!(embedded.table.record(&run).await.unwrap(), Recorded::Written);
    }
}

/// Records runs of the seconds `from..until`, much faster than one by one: copies of one real record.
async fn record_many(embedded: &Embedded, from: i64, until: i64) {
    record(embedded, [run(from, Status::Completed, Trigger::Schedule)]).await;
    let (client, name) = (embedded.table.client(), embedded.table.name());
    let key = |key: &str| AttributeValue::S(key.to_owned());
    let id = RunId::new(at(from), 7).to_string();
    let got = client
        .get_item()
        .table_name(name)
        .key("pk", key("RUNS#purge-expired#0"))
        .key("sk", key(&id))
        .send()
        .await
        .unwrap();
    let item = got.item.unwrap();
    let copies: Vec<_> = (from + 1..until)
        .map(|second| {
            let mut copy: HashMap<_, _> = item.clone();
            let id = key(&RunId::new(at(second), 7).to_string());
            copy.insert("sk".into(), id.clone());
            copy.insert("id".into(), id);
            let put = PutRequest::builder().set_item(Some(copy)).build().unwrap();
            WriteRequest::builder().put_request(put).build()
        })
        .collect();
    for batch in copies.chunks(25) {
        client.batch_write_item().request_items(name, batch.to_vec()).send().await.unwrap();
    }
    embedded.meter.spent();
}

/// Every page until the last, each at most as long as the limit.
async fn pages(embedded: &Embedded, wanted: &History) -> Vec<Page> {
    let mut pages = Vec::new();
    let mut wanted = wanted.clone();
    loop {
        let page = embedded.table.history(&wanted).await.unwrap();
        assert!(page.runs.len() <= usize::from(wanted.limit) && page.looked_at <= usize::from(LOOKED_AT));
        // The command line passes the cursor as text, too.
        wanted.cursor = page.next.as_ref().map(|cursor| cursor.to_string().parse().unwrap());
        pages.push(page);
        if wanted.cursor.is_none() {
            return pages;
        }
    }
}

async fn seconds(embedded: &Embedded, wanted: &History) -> Vec<i64> {
    let pages = pages(embedded, wanted).await;
    pages
        .iter()
        .flat_map(|page| &page.runs)
        .map(|run| run.started_at.duration_since(at(0)).as_secs())
        .collect()
}

#[tokio::test]
async fn p04_history_is_newest_first_filtered_and_continues_after_each_page() {
    let embedded = embedded().await;
    record(
        &embedded,
        (0..8).map(|i| match i % 4 {
            0 => run(i, Status::Failed, Trigger::Schedule),
            1 => run(i, Status::Skipped, Trigger::Pulse),
            _ => run(i, Status::Completed, Trigger::Schedule),
        }),
    )
    .await;
    let all = History::of(task(), 3);
    assert_eq!(seconds(&embedded, &all).await, [7, 6, 5, 4, 3, 2, 1, 0]);
    let bad = History { statuses: vec![Status::Failed, Status::Skipped], ..all.clone() };
    assert_eq!(seconds(&embedded, &bad).await, [5, 4, 1, 0]);
    let pulse = History { trigger: Some(Trigger::Pulse), limit: 1, ..all.clone() };
    assert_eq!(seconds(&embedded, &pulse).await, [5, 1]);
    let none = History { trigger: Some(Trigger::Pulse), ..bad.clone() };
    assert_eq!(seconds(&embedded, &none).await, [5, 1], "a run must match both filters");
    let between = History { from: Some(at(2)), until: Some(at(6)), limit: 2, ..all.clone() };
    assert_eq!(seconds(&embedded, &between).await, [5, 4, 3, 2]);
    let nothing = History { from: Some(at(6)), until: Some(at(2)), ..all.clone() };
    assert_eq!(seconds(&embedded, &nothing).await, Vec::<i64>::new());
    let outside = Cursor::behind(RunId::new(at(1), 0));
    let nothing = History { from: Some(at(2)), cursor: Some(outside), ..all };
    assert_eq!(seconds(&embedded, &nothing).await, Vec::<i64>::new());
    assert!("yesterday".parse::<Cursor>().unwrap_err().to_string().contains("`yesterday` is not a cursor"));
}

#[tokio::test]
async fn p04_the_cost_of_a_page_does_not_depend_on_the_number_of_runs() {
    let embedded = embedded().await;
    let newest = History::of(task(), 20);
    let failed = History { statuses: vec![Status::Failed], ..newest.clone() };
    let mut costs = Vec::new();
    for (from, until) in [(0, 1_100), (1_100, 11_000)] {
        record_many(&embedded, from, until).await;
        let page = embedded.table.history(&newest).await.unwrap();
        assert_eq!((page.runs.len(), page.looked_at), (20, 20));
        let plain = embedded.meter.spent();
        let page = embedded.table.history(&failed).await.unwrap();
        assert_eq!((page.runs.len(), page.looked_at, page.next.is_some()), (0, usize::from(LOOKED_AT), true));
        costs.push((plain, embedded.meter.spent()));
    }
    assert_eq!(costs[0], costs[1]);
    assert_eq!(costs[0].0.len(), 1, "one query: {:?}", costs[0].0);
    let units = |spent: &[(String, Option<f64>)]| spent.iter().map(|(_, units)| units.unwrap()).sum::<f64>();
    eprintln!("a page of 20: {} read units; a filtered one: {}", units(&costs[0].0), units(&costs[0].1));
}

#[tokio::test]
async fn an_item_that_does_not_parse_is_reported_with_its_key_and_the_others_are_shown() {
    let embedded = embedded().await;
    record(&embedded, (0..3).map(|i| run(i, Status::Completed, Trigger::Schedule))).await;
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let damaged = RunId::new(at(1), 8).to_string();
    for (key, status) in [(damaged.as_str(), "DONE"), ("not a run", "COMPLETED")] {
        let put = embedded.table.client().put_item().table_name(embedded.table.name());
        let put =
            put.item("pk", text("RUNS#purge-expired#0")).item("sk", text(key)).item("status", text(status));
        put.send().await.unwrap();
    }
    for limit in [1, 10] {
        let pages = pages(&embedded, &History::of(task(), limit)).await;
        let runs: usize = pages.iter().map(|page| page.runs.len()).sum();
        let keys: Vec<_> =
            pages.iter().flat_map(|page| &page.unreadable).map(|item| item.key.clone()).collect();
        assert_eq!(
            (runs, keys),
            (3, vec!["RUNS#purge-expired#0 / not a run".into(), format!("RUNS#purge-expired#0 / {damaged}")])
        );
    }
    let counted = embedded.table.statistics(&task(), &(at(0)..at(10)), at(10)).await.unwrap();
    assert_eq!((counted.statistics.total(), counted.unreadable.len()), (3, 1), "{:?}", counted.unreadable);
    assert!(counted.unreadable[0].cause.contains("`DONE` is not a status"), "{:?}", counted.unreadable);
}

#[tokio::test]
async fn p05_statistics_are_the_same_before_and_after_their_rollups() {
    let embedded = embedded().await;
    // Five minutes apart over six hours: each third fails, each fourth is skipped.
    let status = |i: i64| match (i % 3, i % 4) {
        (0, _) => Status::Failed,
        (_, 0) => Status::Skipped,
        _ => Status::Completed,
    };
    record(&embedded, (0..72).map(|i| run(i * 300, status(i), Trigger::Schedule))).await;
    embedded.meter.spent();
    let now = at(72 * 300);
    let wanted = at(700)..now;
    let first = embedded.table.statistics(&task(), &wanted, now).await.unwrap();
    let made = embedded.meter.spent();
    assert_eq!(
        made.iter().filter(|(operation, _)| operation == "PutItem").count(),
        3,
        "three closed hours: {made:?}"
    );
    let second = embedded.table.statistics(&task(), &wanted, now).await.unwrap();
    let kept = embedded.meter.spent();
    assert!(kept.iter().all(|(operation, _)| operation == "GetItem" || operation == "Query"), "{kept:?}");
    assert_eq!(first.statistics, second.statistics);
    let expected =
        (3..72).map(status).fold(lamplighter_core::statistics::Statistics::default(), |mut all, status| {
            all.count(status, Some(100).filter(|_| status != Status::Skipped));
            all
        });
    assert_eq!(first.statistics, expected);
    // The hours before and after the stored rollups are counted as well.
    let later = at(90 * 300);
    for wanted in [at(-90_000)..later, at(-200_000)..at(-100_000), at(3600)..at(7200)] {
        let total = embedded.table.statistics(&task(), &wanted, later).await.unwrap().statistics.total();
        let expected = (0..72).filter(|i| wanted.contains(&at(i * 300))).count();
        assert_eq!(total, u64::try_from(expected).unwrap(), "{wanted:?}");
    }
}

#[tokio::test]
async fn p05_statistics_count_a_lost_run_and_the_failure_streak() {
    let embedded = embedded().await;
    let none = embedded.table.statistics(&task(), &Window::Month.before(at(0)), at(0)).await.unwrap();
    assert_eq!((none.statistics.total(), none.failure_streak), (0, 0));
    let request = Request {
        run_id: RunId::new(at(0), 1),
        holder: "holder".into(),
        trigger: Trigger::Manual,
        occasion: Occasion::Manual,
        overlap: Overlap::Skip,
        runs_once: false,
        now: at(0),
        until: at(10),
    };
    assert!(matches!(embedded.table.claim(&task(), &request).await.unwrap(), Decision::Granted(_)));
    let later = at(5 * 3600);
    let counted = embedded.table.statistics(&task(), &Window::Day.before(later), later).await.unwrap();
    assert_eq!((counted.statistics.of(Status::Failed), counted.failure_streak), (1, 1));
    assert_eq!(counted.statistics.durations.count, 0, "a lost run has no known duration");
}
