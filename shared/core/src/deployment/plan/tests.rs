//! The plan's rules, one by one, and what must hold for every plan.

mod rollback;

use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use super::*;
use crate::{
    deployment::{
        DeploymentStep, Direction, Kind, at_last_call, kind, missing_before, next_step, resolve, verdict,
    },
    status::Status,
};

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

fn properties(word: &str) -> Properties {
    Properties::of_text(word)
}

/// Creates a request to deploy a version. Its properties are those that `properties` makes of the version.
fn request(change: Change, id: &str, version: &str, tasks: Vec<PlannedTask>) -> Request {
    Request {
        change,
        request_id: id.into(),
        ledger: "shop#LamplighterBefore".into(),
        version: version.into(),
        old_version: None,
        properties: properties(version),
        old_properties: None,
        sent_at: None,
        tasks,
    }
}

fn situation(course: Course, phase: StackPhase) -> Situation<'static> {
    static NONE: BTreeMap<TaskName, String> = BTreeMap::new();
    Situation {
        course,
        phase: Some(phase),
        contents: &NONE,
        last_call: at(1000),
        went_forward: None,
        rolled_back: false,
    }
}

fn decide(request: &Request, ledger: &Ledger, situation: &Situation<'_>) -> Plan {
    static RANDOM: AtomicU64 = AtomicU64::new(0);
    plan(request, ledger, situation, at(100), || RANDOM.fetch_add(1, Ordering::Relaxed).into()).unwrap()
}

/// The entry of a request while its stack waits for it.
fn forward_of(request: &Request, ledger: &Ledger) -> Entry {
    let phase = match request.change {
        Change::Create => StackPhase::Creating,
        Change::Update => StackPhase::Updating,
    };
    opened(decide(request, ledger, &situation(request.change.forward(), phase)))
}

fn rollback_of(request: &Request, ledger: &Ledger) -> Entry {
    opened(decide(request, ledger, &situation(Course::Rollback, StackPhase::RollingBack)))
}

fn opened(plan: Plan) -> Entry {
    match plan {
        Plan::Open(entry) => entry,
        other => panic!("not opened: {other:?}"),
    }
}

/// Returns the ledger that a new request reads while the deployment of `entry` is in progress.
fn begun(entry: Entry) -> Ledger {
    let latest = Latest { entry: entry.key.clone(), successful: entry.previous.clone(), deleted: None };
    Ledger { latest: Some(latest), newest: Some(entry), ..Ledger::default() }
}

/// The ledger after `entry` ended, as a new request sees it.
fn closed(mut entry: Entry, status: Status) -> Ledger {
    for task in &mut entry.tasks {
        if task.status == Status::Pending {
            task.status = status;
        }
    }
    let success = status == Status::Completed || entry.course == Course::Rollback;
    let successful = entry.successful_after(success);
    let latest = Latest { entry: entry.key.clone(), successful, deleted: None };
    let (body, at) = ("{}".into(), at(101));
    entry.answer =
        Some(Answered { success, body, at, delivered_to: Vec::new(), sending_to: Vec::new(), sent_at: None });
    Ledger { latest: Some(latest), newest: Some(entry), ..Ledger::default() }
}

fn statuses(entry: &Entry) -> Vec<(&str, Status)> {
    entry.tasks.iter().map(|t| (t.name.as_str(), t.status)).collect()
}

/// The ledger after version 1 was created.
fn at_version_1() -> Ledger {
    let create = request(Change::Create, "r1", "1", vec![task("a", &[])]);
    closed(forward_of(&create, &Ledger::default()), Status::Completed)
}

fn update(id: &str, version: &str) -> Request {
    request(Change::Update, id, version, vec![task("a", &[]), task("b", &["a"])])
}

#[test]
fn l04_each_change_runs_its_tasks() {
    let only = |word, change| PlannedTask { run_on: BTreeSet::from([change]), ..task(word, &[]) };
    let tasks = vec![only("seed", RunOn::Deploy), only("move", RunOn::Update), task("migrate", &["seed"])];
    let created = forward_of(&request(Change::Create, "r", "1", tasks.clone()), &Ledger::default());
    assert_eq!(
        statuses(&created),
        [("seed", Status::Pending), ("move", Status::Skipped), ("migrate", Status::Pending)]
    );
    assert_eq!(created.course, Course::Deploy);
    let updated = forward_of(&request(Change::Update, "r", "1", tasks), &Ledger::default());
    assert_eq!(
        statuses(&updated),
        [("seed", Status::Skipped), ("move", Status::Pending), ("migrate", Status::Pending)]
    );
}

#[test]
fn l07_first_until_one_succeeded_and_previous_is_the_last_success() {
    let deploy = |change, id, version, ledger: &Ledger| {
        forward_of(&request(change, id, version, vec![task("a", &[])]), ledger)
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
    // The state of the stack no longer matters.
    let late = situation(Course::Deploy, StackPhase::Over);
    let entry = forward_of(&r, &Ledger::default());
    let in_flight = Ledger { own: Some(entry.clone()), ..begun(entry.clone()) };
    assert_eq!(decide(&r, &in_flight, &late), Plan::Resume(entry.clone()));

    let mut answered = closed(entry.clone(), Status::Completed);
    answered.own = answered.newest.clone();
    assert!(matches!(decide(&r, &answered, &late), Plan::Replay { .. }));

    let newer = Latest { entry: EntryKey::new(at(200), "r2"), successful: None, deleted: None };
    let left_behind = Ledger { latest: Some(newer), ..in_flight };
    assert_eq!(decide(&r, &left_behind, &late), Plan::Superseded { entry, by: "r2".into() });
}

#[test]
fn l17_once_per_content_runs_when_the_content_changed() {
    let r = |id| {
        let once = PlannedTask { once_per: OncePer::Content, ..task("a", &[]) };
        request(Change::Update, id, "1", vec![once, task("b", &["a"])])
    };
    let with = |id, ledger: &Ledger, content: &str| {
        let contents = BTreeMap::from([(name("a"), content.to_owned())]);
        let situation = Situation { contents: &contents, ..situation(Course::Update, StackPhase::Updating) };
        opened(plan(&r(id), ledger, &situation, at(100), || 1).unwrap())
    };
    let first = with("r1", &Ledger::default(), "x");
    assert_eq!(statuses(&first), [("a", Status::Pending), ("b", Status::Pending)]);
    let same = with("r2", &closed(first, Status::Completed), "x");
    assert_eq!(statuses(&same), [("a", Status::Skipped), ("b", Status::Pending)]);
    let still_known = with("r3", &closed(same, Status::Completed), "y");
    assert_eq!(statuses(&still_known), [("a", Status::Pending), ("b", Status::Pending)]);
}

#[test]
fn d01_events_are_classified() {
    let version_1 = at_version_1();
    let failed = closed(forward_of(&update("r2", "2"), &version_1), Status::Failed);
    let open = begun(forward_of(&update("r2", "2"), &version_1));
    let version_2 = closed(forward_of(&update("r2", "2"), &version_1), Status::Completed);
    let version_3 = closed(forward_of(&update("r3", "3"), &version_2), Status::Completed);
    let returned = closed(rollback_of(&update("r3", "1"), &version_2), Status::Completed);
    let mut of_before = version_2.clone();
    of_before.latest.as_mut().unwrap().successful.as_mut().unwrap().properties = None;
    of_before.newest.as_mut().unwrap().properties = None;
    let mut expired = version_2.clone();
    expired.newest = None;
    let forward = Kind::Forward(Course::Update);
    for (what, ledger, to, expected) in [
        ("an update", &version_1, "2", forward),
        ("the rollback of an update that was never opened", &version_1, "1", Kind::Undecided),
        ("the rollback of a failure", &failed, "1", Kind::Rollback),
        ("another attempt after a failure that was kept", &failed, "2", forward),
        ("something else after a failure that was kept", &failed, "3", forward),
        ("the rollback of a deployment in progress", &open, "1", Kind::Rollback),
        ("a return, or the rollback of a success", &version_2, "1", Kind::Undecided),
        ("a return to the version before the previous one", &version_3, "1", forward),
        ("a further rollback", &returned, "1", Kind::Rollback),
        ("another attempt after a rollback", &returned, "2", forward),
        ("a missing ledger", &Ledger::default(), "1", Kind::Undecided),
        ("a ledger without properties", &of_before, "9", Kind::Undecided),
        ("an entry that has expired", &expired, "3", forward),
        ("the rollback after an entry has expired", &expired, "2", Kind::Undecided),
    ] {
        assert_eq!(kind(&update("r9", to), ledger), expected, "{what}");
        let create = request(Change::Create, "r9", to, Vec::new());
        assert_eq!(kind(&create, ledger), Kind::Forward(Course::Deploy), "{what}");
    }
}

#[test]
fn d01_an_undecided_event_follows_the_order_of_events_and_then_the_status() {
    for (order, phase, expected) in [
        (Direction::Forward, StackPhase::RollingBack, Course::Update),
        (Direction::Back, StackPhase::Updating, Course::Rollback),
        (Direction::Unknown, StackPhase::RollingBack, Course::Rollback),
        (Direction::Unknown, StackPhase::RolledBack, Course::Rollback),
        (Direction::Unknown, StackPhase::Updating, Course::Update),
    ] {
        assert_eq!(resolve(Kind::Undecided, order, phase), expected, "{order:?} {phase:?}");
        assert_eq!(resolve(Kind::Rollback, order, phase), Course::Rollback);
        // An Update that the stack sent during a rollback is a rollback, whatever the ledger says.
        let sent_back = if order == Direction::Back { Course::Rollback } else { Course::Update };
        assert_eq!(resolve(Kind::Forward(Course::Update), order, phase), sent_back);
        assert_eq!(resolve(Kind::Forward(Course::Deploy), order, phase), Course::Deploy);
    }
}

/// The stack begins to roll back before the dispatcher reads the stack's status.
#[test]
fn d01_a_forward_update_of_a_stack_that_rolls_back_runs_nothing() {
    let ledger = at_version_1();
    let late = situation(Course::Update, StackPhase::RollingBack);
    let Plan::Decline(verdict) = decide(&update("r2", "2"), &ledger, &late) else { panic!("not declined") };
    assert!(!verdict.success && verdict.reason.contains("it is rolling back"), "{}", verdict.reason);
    // The ledger stays as it is, so its rollback has nothing to undo, and the next update has the right context.
    let rollback = rollback_of(&update("r3", "1"), &ledger);
    assert_eq!((statuses(&rollback), &rollback.undoes), (vec![], &None));
    let next = forward_of(&update("r4", "3"), &closed(rollback, Status::Completed));
    assert!(!next.deployment.is_first_deploy);
    assert_eq!(next.deployment.previous_version.as_deref(), Some("1"));
}

/// The update keeps the version and changes another property.
#[test]
fn d02_an_update_with_the_same_version_that_was_never_opened_is_not_undone() {
    let ledger = at_version_1();
    let rollback = rollback_of(&Request { old_version: Some("1".into()), ..update("r3", "1") }, &ledger);
    assert_eq!((statuses(&rollback), &rollback.undoes), (vec![], &None));
    assert_eq!(rollback.successful_after(true).unwrap().version, "1");
}

/// The stack no longer waits for the event when it is delivered.
#[test]
fn d03_nothing_runs_on_a_stack_that_does_not_wait() {
    let ledger = at_version_1();
    for phase in [StackPhase::Over, StackPhase::RolledBack, StackPhase::RollingBack, StackPhase::Importing] {
        let create = request(Change::Create, "r2", "2", vec![task("a", &[])]);
        let plan = decide(&create, &ledger, &situation(Course::Deploy, phase));
        assert!(matches!(&plan, Plan::Decline(verdict) if !verdict.success), "{phase:?}: {plan:?}");
    }
    for phase in [StackPhase::Over, StackPhase::RolledBack, StackPhase::Creating] {
        let plan = decide(&update("r2", "2"), &ledger, &situation(Course::Update, phase));
        assert!(matches!(&plan, Plan::Decline(verdict) if !verdict.success), "{phase:?}: {plan:?}");
        let plan = decide(&update("r2", "1"), &ledger, &situation(Course::Rollback, phase));
        assert!(matches!(&plan, Plan::Decline(verdict) if verdict.success), "{phase:?}: {plan:?}");
    }
    let unknown = |course| Situation { phase: None, ..situation(course, StackPhase::Over) };
    assert!(matches!(decide(&update("r2", "2"), &ledger, &unknown(Course::Update)), Plan::Decline(_)));
    assert!(matches!(decide(&update("r2", "1"), &ledger, &unknown(Course::Rollback)), Plan::Open(_)));
}

/// An entry has the time at which its request was sent, even if it is opened late. So the next request is not late.
#[test]
fn d03_an_entry_that_is_opened_late_does_not_make_the_next_request_late() {
    let ledger = at_version_1();
    let failed = closed(forward_of(&update("r2", "2"), &ledger), Status::Failed);
    let sent = |id, second| Request { sent_at: Some(at(second)), ..update(id, "1") };
    let opened_late = rollback_of(&sent("r3", 150), &failed);
    let continued =
        decide(&sent("r4", 160), &begun(opened_late), &situation(Course::Rollback, StackPhase::RollingBack));
    assert!(matches!(continued, Plan::Open(_)), "{continued:?}");
}

#[test]
fn d03_a_request_that_was_sent_before_the_newest_entry_is_over() {
    let mut ledger = at_version_1();
    let sent = |second| Request { sent_at: Some(at(second)), ..update("r2", "2") };
    let waiting = situation(Course::Update, StackPhase::Updating);
    // The entry was opened at 100 s, without a date of its own.
    assert!(matches!(decide(&sent(97), &ledger, &waiting), Plan::Decline(verdict) if !verdict.success));
    for in_time in [99, 100, 200] {
        assert!(matches!(decide(&sent(in_time), &ledger, &waiting), Plan::Open(_)), "{in_time}");
    }
    ledger.latest.as_mut().unwrap().deleted = Some(at(150));
    assert!(matches!(decide(&sent(120), &ledger, &waiting), Plan::Decline(_)));
    assert!(matches!(decide(&sent(160), &ledger, &waiting), Plan::Open(_)));
    let later_update = Situation { went_forward: Some(at(163)), ..waiting.clone() };
    assert!(matches!(decide(&sent(160), &ledger, &later_update), Plan::Decline(_)));
    assert!(matches!(decide(&sent(162), &ledger, &later_update), Plan::Open(_)));
    // A rollback is opened even after its last call, since it changes the properties in effect.
    let back = situation(Course::Rollback, StackPhase::RollingBack);
    let back = Situation { last_call: at(99), ..back };
    assert!(matches!(decide(&update("r3", "1"), &ledger, &back), Plan::Open(_)));
    let expired = Situation { last_call: at(99), ..waiting };
    assert!(matches!(decide(&sent(160), &ledger, &expired), Plan::Decline(_)));
}

/// The rollback has no entry: its event could not be recorded, or a person made CloudFormation skip the resource.
#[test]
fn d01_an_update_reveals_an_unrecorded_rollback_of_the_newest_success() {
    let ledger = closed(forward_of(&update("r2", "2"), &at_version_1()), Status::Completed);
    let from = |old: Option<&str>| Request { old_properties: old.map(properties), ..update("r4", "3") };
    // If the stack has not rolled back, the old properties come from an update that was kept but never opened.
    let kept_only = forward_of(&from(Some("1")), &ledger);
    assert_eq!(kept_only.deployment.previous_version.as_deref(), Some("2"));
    let cases = [(Some("1"), "1", 2), (Some("2"), "2", 0), (Some("9"), "2", 0), (None, "2", 0)];
    for (old, previous, kept) in cases {
        assert_eq!(may_be_undone(&from(old), &ledger), kept > 0, "{old:?}");
        let waiting = situation(Course::Update, StackPhase::Updating);
        let next = opened(decide(&from(old), &ledger, &Situation { rolled_back: true, ..waiting }));
        assert_eq!(next.deployment.previous_version.as_deref(), Some(previous), "{old:?}");
        assert_eq!(next.kept.len(), kept, "{old:?}");
    }
}

#[test]
fn l16_dependents_of_a_failure_are_blocked_and_others_not_started() {
    let tasks = vec![task("a", &[]), task("b", &["a"]), task("c", &["b"]), task("x", &[]), task("y", &["x"])];
    let r = request(Change::Create, "r1", "1", tasks);
    let mut entry = forward_of(&r, &Ledger::default());
    assert_eq!(next_step(entry.course, &entry.tasks), DeploymentStep::Run(vec![0, 3]));
    entry.tasks[0].status = Status::Failed;
    entry.tasks[3].status = Status::Completed;
    let DeploymentStep::GiveUp(fates) = next_step(entry.course, &entry.tasks) else { panic!("goes on") };
    let fates: Vec<_> = fates.iter().map(|(i, status, _)| (*i, *status)).collect();
    assert_eq!(fates, [(1, Status::Blocked), (2, Status::Blocked), (4, Status::Skipped)]);
}

#[test]
fn l13_a_failure_is_reported_with_task_run_and_message() {
    let r = request(Change::Create, "r1", "1", vec![task("a", &[]), task("b", &["a"])]);
    let mut entry = forward_of(&r, &Ledger::default());
    entry.tasks[0].status = Status::Failed;
    entry.tasks[0].message = Some("no such column".into());
    entry.tasks[1].status = Status::Blocked;
    let verdict = verdict(&entry);
    assert!(!verdict.success);
    let expected = format!("a FAILED (run {}): no such column; b BLOCKED", entry.tasks[0].run_id);
    assert!(verdict.reason.starts_with(&expected), "{}", verdict.reason);
}

/// At the last call, a deployment with unfinished tasks fails and a rollback with unfinished tasks succeeds.
#[test]
fn d05_the_last_delivery_decides_by_the_recorded_results() {
    let minute = Duration::from_secs(60);
    let mut entry = forward_of(&update("r2", "2"), &at_version_1());
    let late = at_last_call(&entry, minute);
    assert!(!late.success);
    assert_eq!(late.reason, "not over within the 60 s of the resource's ServiceTimeout: a, b");
    for task in &mut entry.tasks {
        task.status = Status::Completed;
    }
    assert!(at_last_call(&entry, minute).success);
    let rollback = rollback_of(&update("r3", "1"), &closed(entry, Status::Completed));
    let late = at_last_call(&rollback, minute);
    assert!(late.success && late.reason.starts_with("not undone within the 60 s"), "{}", late.reason);
}

proptest! {
    /// For any dependencies and any failures, each task starts at most once, only after its dependencies have
    /// completed, and never after a known failure. Every deployment ends.
    #[test]
    fn every_deployment_ends_in_order(
        edges in prop::collection::vec((prop::collection::vec(any::<prop::sample::Index>(), 0..3), any::<bool>()), 1..15),
        luck in prop::collection::vec(0_u8..10, 15),
    ) {
        let tasks: Vec<_> = edges.iter().enumerate().map(|(i, (needs, _))| {
            let needs: Vec<_> = if i == 0 { vec![] } else { needs.iter().map(|n| format!("t{}", n.index(i))).collect() };
            task(&format!("t{i}"), &needs.iter().map(String::as_str).collect::<Vec<_>>())
        }).collect();
        let mut entry = forward_of(&request(Change::Create, "r", "1", tasks), &Ledger::default());
        let mut started = BTreeSet::new();
        for _ in 0..=edges.len() + 1 {
            match next_step(entry.course, &entry.tasks) {
                DeploymentStep::Run(indices) => {
                    prop_assert!(entry.tasks.iter().all(|t| !t.status.is_failure()));
                    for i in indices {
                        prop_assert!(started.insert(i));
                        let needs = entry.tasks[i].depends_on.clone();
                        prop_assert!(entry.tasks.iter().filter(|t| needs.contains(&t.name)).all(|t| t.status == Status::Completed));
                        entry.tasks[i].status = if luck[i] == 0 { Status::Failed } else { Status::Completed };
                    }
                }
                DeploymentStep::GiveUp(fates) => for (i, status, _) in fates {
                    prop_assert!(!started.contains(&i));
                    entry.tasks[i].status = status;
                },
                DeploymentStep::Done => break,
            }
        }
        prop_assert!(entry.tasks.iter().all(|t| t.status.is_terminal()));
        let failed = entry.tasks.iter().any(|t| t.status == Status::Failed);
        prop_assert_eq!(verdict(&entry).success, !failed);
    }
}
