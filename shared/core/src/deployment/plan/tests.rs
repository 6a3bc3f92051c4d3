//! The plan's rules, one by one, and what must hold for every plan.

use proptest::prelude::*;

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn name(word: &str) -> TaskName {
    word.parse().unwrap()
}

fn task(word: &str, needs: &[&str]) -> PlannedTask {
    PlannedTask {
        name: name(word),
        function: format!("shop-{word}"),
        run_on: BTreeSet::from([RunOn::Deploy, RunOn::Update]),
        depends_on: needs.iter().map(|n| name(n)).collect(),
        once_per: OncePer::Deployment,
        rollback: true,
        timeout: Duration::from_secs(300),
    }
}

fn request(change: Change, id: &str, version: &str, tasks: Vec<PlannedTask>) -> Request {
    Request {
        change,
        request_id: id.into(),
        ledger: "shop#LamplighterBefore".into(),
        version: version.into(),
        old_version: None,
        tasks,
    }
}

fn decide(request: &Request, ledger: &Ledger, stack: StackPhase) -> Plan {
    let mut random = 0;
    plan(request, ledger, stack, &BTreeMap::new(), at(100), || {
        random += 1;
        random
    })
    .unwrap()
}

fn opened(plan: Plan) -> Entry {
    match plan {
        Plan::Open(entry) => entry,
        other => panic!("not opened: {other:?}"),
    }
}

/// The ledger after `entry` ended, as somebody with a new request sees it.
fn closed(mut entry: Entry, status: Status) -> Ledger {
    for task in &mut entry.tasks {
        if task.status == Status::Pending {
            task.status = status;
        }
    }
    let success = status == Status::Completed;
    let latest = Latest { entry: entry.key.clone(), successful: entry.successful_after(success) };
    entry.answer = Some(Answered { success, body: "{}".into(), at: at(101), delivered_to: Vec::new() });
    Ledger { latest: Some(latest), newest: Some(entry), own: None }
}

fn statuses(entry: &Entry) -> Vec<(&str, Status)> {
    entry.tasks.iter().map(|t| (t.name.as_str(), t.status)).collect()
}

#[test]
fn l04_each_change_runs_its_tasks() {
    let only = |word, change| PlannedTask { run_on: BTreeSet::from([change]), ..task(word, &[]) };
    let tasks = vec![only("seed", RunOn::Deploy), only("move", RunOn::Update), task("migrate", &["seed"])];
    let ledger = Ledger::default();
    let created =
        opened(decide(&request(Change::Create, "r", "1", tasks.clone()), &ledger, StackPhase::Forward));
    assert_eq!(
        statuses(&created),
        [("seed", Status::Pending), ("move", Status::Skipped), ("migrate", Status::Pending)]
    );
    assert_eq!(created.course, Course::Deploy);
    let updated = opened(decide(&request(Change::Update, "r", "1", tasks), &ledger, StackPhase::Forward));
    assert_eq!(
        statuses(&updated),
        [("seed", Status::Skipped), ("move", Status::Pending), ("migrate", Status::Pending)]
    );
}

#[test]
fn l07_first_until_one_succeeded_and_previous_is_the_last_success() {
    let deploy = |change, id, version, ledger: &Ledger| {
        opened(decide(&request(change, id, version, vec![task("a", &[])]), ledger, StackPhase::Forward))
    };
    let first = deploy(Change::Create, "r1", "1", &Ledger::default());
    assert!(first.deployment.is_first_deploy);
    let again = deploy(Change::Create, "r2", "2", &closed(first, Status::Failed));
    assert!(again.deployment.is_first_deploy);
    let update = deploy(Change::Update, "r3", "3", &closed(again, Status::Completed));
    assert!(!update.deployment.is_first_deploy);
    assert_eq!(update.deployment.previous_version.as_deref(), Some("2"));
    let after_failure = deploy(Change::Update, "r4", "4", &closed(update, Status::Failed));
    assert_eq!(after_failure.deployment.previous_version.as_deref(), Some("2"));
}

#[test]
fn l14_a_known_request_is_replayed_or_resumed() {
    let r = request(Change::Create, "r1", "1", vec![task("a", &[])]);
    let entry = opened(decide(&r, &Ledger::default(), StackPhase::Forward));
    let latest = Some(Latest { entry: entry.key.clone(), successful: None });
    let in_flight = Ledger { latest, newest: Some(entry.clone()), own: Some(entry.clone()) };
    assert_eq!(decide(&r, &in_flight, StackPhase::Forward), Plan::Resume(entry.clone()));

    let mut answered = closed(entry.clone(), Status::Completed);
    answered.own = answered.newest.clone();
    assert!(matches!(decide(&r, &answered, StackPhase::Forward), Plan::Replay { .. }));

    let newer = Latest { entry: EntryKey::new(at(200), "r2"), successful: None };
    let left_behind = Ledger { latest: Some(newer), ..in_flight };
    assert_eq!(decide(&r, &left_behind, StackPhase::Forward), Plan::Superseded { entry, by: "r2".into() });
}

#[test]
fn l17_once_per_content_runs_when_the_content_changed() {
    let r = |id| {
        let once = PlannedTask { once_per: OncePer::Content, ..task("a", &[]) };
        request(Change::Update, id, "1", vec![once, task("b", &["a"])])
    };
    let with = |id, ledger: &Ledger, content: &str| {
        let contents = BTreeMap::from([(name("a"), content.to_owned())]);
        opened(plan(&r(id), ledger, StackPhase::Forward, &contents, at(100), || 1).unwrap())
    };
    let first = with("r1", &Ledger::default(), "x");
    assert_eq!(statuses(&first), [("a", Status::Pending), ("b", Status::Pending)]);
    let same = with("r2", &closed(first, Status::Completed), "x");
    assert_eq!(statuses(&same), [("a", Status::Skipped), ("b", Status::Pending)]);
    let still_known = with("r3", &closed(same, Status::Completed), "y");
    assert_eq!(statuses(&still_known), [("a", Status::Pending), ("b", Status::Pending)]);
}

#[test]
fn l18_a_rollback_undoes_what_completed_in_reverse_and_returns_to_the_success_before() {
    let deploy = opened(decide(
        &request(Change::Create, "r1", "1", vec![task("a", &[])]),
        &Ledger::default(),
        StackPhase::Forward,
    ));
    let no_rollback = PlannedTask { rollback: false, ..task("c", &[]) };
    let tasks = vec![task("a", &[]), task("b", &["a"]), no_rollback];
    let update = opened(decide(
        &request(Change::Update, "r2", "2", tasks.clone()),
        &closed(deploy, Status::Completed),
        StackPhase::Forward,
    ));
    let mut r3 = request(Change::Update, "r3", "1", tasks.clone());
    r3.old_version = Some("2".into());
    let undone = closed(update, Status::Completed);
    assert_eq!(undone.latest.as_ref().unwrap().successful.as_ref().unwrap().version, "2");

    let rollback = opened(decide(&r3, &undone, StackPhase::RollingBack));
    assert_eq!(statuses(&rollback), [("a", Status::Pending), ("b", Status::Pending), ("c", Status::Skipped)]);
    assert_eq!(next_step(rollback.course, &rollback.tasks), Step::Run(vec![1]));
    assert_eq!(rollback.deployment.rolled_back_version.as_deref(), Some("2"));
    assert_eq!(rollback.successful_after(true).unwrap().version, "1");

    let mut again = r3.clone();
    again.request_id = "r4".into();
    let once = opened(decide(&again, &closed(rollback, Status::Completed), StackPhase::RollingBack));
    assert_eq!(statuses(&once), []);
    assert_eq!(once.successful_after(true).unwrap().version, "1");
}

#[test]
fn l18_the_update_after_a_rollback_has_the_version_before_it_as_previous() {
    let v = |change, id, version, old: Option<&str>| Request {
        old_version: old.map(str::to_owned),
        ..request(change, id, version, vec![task("a", &[])])
    };
    let forward = StackPhase::Forward;
    let first = opened(decide(&v(Change::Create, "r1", "1", None), &Ledger::default(), forward));
    let ledger = closed(first, Status::Completed);
    let second = opened(decide(&v(Change::Update, "r2", "2", Some("1")), &ledger, forward));
    let ledger = closed(second, Status::Completed);
    let back = opened(decide(&v(Change::Update, "r3", "1", Some("2")), &ledger, StackPhase::RollingBack));
    let ledger = closed(back, Status::Completed);
    let third = opened(decide(&v(Change::Update, "r4", "3", Some("1")), &ledger, forward));
    assert_eq!(third.deployment.previous_version.as_deref(), Some("1"));
}

#[test]
fn l16_dependents_of_a_failure_are_blocked_and_others_not_started() {
    let tasks = vec![task("a", &[]), task("b", &["a"]), task("c", &["b"]), task("x", &[]), task("y", &["x"])];
    let r = request(Change::Create, "r1", "1", tasks);
    let mut entry = opened(decide(&r, &Ledger::default(), StackPhase::Forward));
    assert_eq!(next_step(entry.course, &entry.tasks), Step::Run(vec![0, 3]));
    entry.tasks[0].status = Status::Failed;
    entry.tasks[3].status = Status::Completed;
    let Step::GiveUp(fates) = next_step(entry.course, &entry.tasks) else { panic!("goes on") };
    let fates: Vec<_> = fates.iter().map(|(i, status, _)| (*i, *status)).collect();
    assert_eq!(fates, [(1, Status::Blocked), (2, Status::Blocked), (4, Status::Skipped)]);
}

#[test]
fn l13_a_failure_is_told_with_task_run_and_message() {
    let r = request(Change::Create, "r1", "1", vec![task("a", &[]), task("b", &["a"])]);
    let mut entry = opened(decide(&r, &Ledger::default(), StackPhase::Forward));
    entry.tasks[0].status = Status::Failed;
    entry.tasks[0].message = Some("no such column".into());
    entry.tasks[1].status = Status::Blocked;
    let verdict = verdict(&entry);
    assert!(!verdict.success);
    let expected = format!("a FAILED (run {}): no such column; b BLOCKED", entry.tasks[0].run_id);
    assert!(verdict.reason.starts_with(&expected), "{}", verdict.reason);
}

#[test]
fn l07_a_create_that_is_rolled_back_was_no_success() {
    let r = request(Change::Create, "r1", "1", vec![task("a", &[])]);
    let ledger = closed(opened(decide(&r, &Ledger::default(), StackPhase::Forward)), Status::Completed);
    assert_eq!(after_delete(&ledger, StackPhase::Forward), None);
    let (latest, success) = after_delete(&ledger, StackPhase::RollingBack).unwrap();
    assert_eq!((latest.entry.request_id(), success), ("r1", None));
}

#[test]
fn a_stacks_status_tells_a_rollback() {
    for (status, phase) in [
        ("CREATE_IN_PROGRESS", StackPhase::Forward),
        ("UPDATE_IN_PROGRESS", StackPhase::Forward),
        ("UPDATE_ROLLBACK_IN_PROGRESS", StackPhase::RollingBack),
        ("UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS", StackPhase::RollingBack),
        ("ROLLBACK_IN_PROGRESS", StackPhase::RollingBack),
        ("UPDATE_ROLLBACK_COMPLETE", StackPhase::Forward),
    ] {
        assert_eq!(StackPhase::of(status), phase, "{status}");
    }
}

proptest! {
    /// However tasks depend on each other and whichever fail: each is started at most once, none before all
    /// that it needs have completed, and none after a failure is known; and it comes to an end.
    #[test]
    fn every_deployment_ends_in_order(
        edges in prop::collection::vec((prop::collection::vec(any::<prop::sample::Index>(), 0..3), any::<bool>()), 1..15),
        luck in prop::collection::vec(0_u8..10, 15),
    ) {
        let tasks: Vec<_> = edges.iter().enumerate().map(|(i, (needs, _))| {
            let needs: Vec<_> = if i == 0 { vec![] } else { needs.iter().map(|n| format!("t{}", n.index(i))).collect() };
            task(&format!("t{i}"), &needs.iter().map(String::as_str).collect::<Vec<_>>())
        }).collect();
        let mut entry = opened(decide(&request(Change::Create, "r", "1", tasks), &Ledger::default(), StackPhase::Forward));
        let mut started = BTreeSet::new();
        for _ in 0..=edges.len() + 1 {
            match next_step(entry.course, &entry.tasks) {
                Step::Run(indices) => {
                    prop_assert!(entry.tasks.iter().all(|t| !t.status.is_failure()));
                    for i in indices {
                        prop_assert!(started.insert(i));
                        let needs = entry.tasks[i].depends_on.clone();
                        prop_assert!(entry.tasks.iter().filter(|t| needs.contains(&t.name)).all(|t| t.status == Status::Completed));
                        entry.tasks[i].status = if luck[i] == 0 { Status::Failed } else { Status::Completed };
                    }
                }
                Step::GiveUp(fates) => for (i, status, _) in fates {
                    prop_assert!(!started.contains(&i));
                    entry.tasks[i].status = status;
                },
                Step::Done => break,
            }
        }
        prop_assert!(entry.tasks.iter().all(|t| t.status.is_terminal()));
        let failed = entry.tasks.iter().any(|t| t.status == Status::Failed);
        prop_assert_eq!(verdict(&entry).success, !failed);
    }
}
