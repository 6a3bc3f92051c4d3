//! L07, L18, D06: which tasks a rollback undoes.

use super::*;

#[test]
fn l18_a_rollback_undoes_what_completed_in_reverse_and_returns_to_the_success_before() {
    let no_rollback = PlannedTask { rollback: false, ..task("c", &[]) };
    let tasks = vec![task("a", &[]), task("b", &["a"]), no_rollback];
    let r2 = forward_of(&request(Change::Update, "r2", "2", tasks.clone()), &at_version_1());
    let undone = closed(r2, Status::Completed);
    assert_eq!(undone.latest.as_ref().unwrap().successful.as_ref().unwrap().version, "2");

    let rollback = rollback_of(&request(Change::Update, "r3", "1", tasks.clone()), &undone);
    assert_eq!(statuses(&rollback), [("a", Status::Pending), ("b", Status::Pending), ("c", Status::Skipped)]);
    assert_eq!(next_step(rollback.course, &rollback.tasks), DeploymentStep::Run(vec![1]));
    assert_eq!(rollback.deployment.rolled_back_version.as_deref(), Some("2"));
    assert_eq!(rollback.successful_after(true).unwrap().version, "1");

    let ledger = closed(rollback, Status::Completed);
    let once = rollback_of(&request(Change::Update, "r4", "1", tasks.clone()), &ledger);
    assert_eq!(statuses(&once), []);
    assert_eq!(once.successful_after(true).unwrap().version, "1");

    let third = forward_of(&request(Change::Update, "r5", "3", tasks), &closed(once, Status::Completed));
    assert_eq!(third.deployment.previous_version.as_deref(), Some("1"));
}

#[test]
fn d06_a_further_rollback_undoes_the_rest() {
    let tasks = vec![task("a", &[]), task("b", &["a"]), task("c", &["b"])];
    let ledger =
        closed(forward_of(&request(Change::Update, "r2", "2", tasks), &at_version_1()), Status::Completed);
    let mut first = rollback_of(&update("r3", "1"), &ledger);
    let ids: Vec<_> = first.tasks.iter().map(|task| task.run_id).collect();
    // The first undo is in progress, the second failed, and the third completed.
    for (task, status) in first.tasks.iter_mut().zip([Status::Pending, Status::Failed, Status::Completed]) {
        task.status = status;
    }
    let ledger = Ledger { newest: Some(first.clone()), ..begun(first) };
    assert_eq!(kind(&update("r4", "1"), &ledger), Kind::Rollback);
    let second = rollback_of(&update("r4", "1"), &ledger);
    assert_eq!(statuses(&second), [("a", Status::Pending), ("b", Status::Pending)]);
    // An undo in progress keeps its run; one that failed gets a new run.
    assert_eq!(second.tasks[0].run_id, ids[0]);
    assert!(!ids.contains(&second.tasks[1].run_id));
    assert_eq!(second.tasks[1].undoes, ledger.newest.as_ref().unwrap().tasks[1].undoes);
    assert_eq!(second.undoes, ledger.newest.unwrap().undoes);
    assert_eq!(second.deployment.rolled_back_version.as_deref(), Some("2"));
    assert_eq!(second.deployment.previous_version.as_deref(), Some("1"));
}

/// With rollback disabled, a stack keeps failed deployments. A later rollback undoes all of them.
#[test]
fn d06_a_rollback_undoes_the_failures_that_were_kept_too() {
    let tasks = |words: &[&str]| words.iter().map(|word| task(word, &[])).collect::<Vec<_>>();
    let of = |id, version, words: &[&str], ledger: &Ledger| {
        forward_of(&request(Change::Update, id, version, tasks(words)), ledger)
    };
    let mut second = of("r2", "2", &["a", "b", "c"], &at_version_1());
    let statuses_of = [Status::Completed, Status::Completed, Status::Failed];
    for (task, status) in second.tasks.iter_mut().zip(statuses_of) {
        task.status = status;
    }
    let a2 = second.tasks[0].run_id;
    let third = of("r3", "3", &["a", "x"], &closed(second, Status::Failed));
    assert_eq!(third.kept.iter().map(|kept| kept.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    let a3 = third.tasks[0].run_id;
    let failed = closed(third, Status::Completed);
    let rollback = rollback_of(&update("r4", "1"), &failed);
    let undone: Vec<_> = rollback.tasks.iter().map(|task| (task.name.as_str(), task.wave)).collect();
    assert_eq!(undone, [("a", 0), ("x", 0), ("b", 1)]);
    assert_eq!(rollback.tasks[0].undoes, [a3, a2]);
    assert_eq!(rollback.previous.unwrap().version, "1");
}

#[test]
fn d06_a_task_that_completed_in_several_kept_failures_is_undone_for_all_of_them() {
    let mut ledger = at_version_1();
    let mut runs = Vec::new();
    for version in ["2", "3", "4"] {
        let mut entry = forward_of(&update(version, version), &ledger);
        entry.tasks[0].status = Status::Completed;
        runs.insert(0, entry.tasks[0].run_id);
        ledger = closed(entry, Status::Failed);
    }
    let rollback = rollback_of(&update("r9", "1"), &ledger);
    assert_eq!(statuses(&rollback), [("a", Status::Pending)]);
    assert_eq!(rollback.tasks[0].undoes, runs);
}

/// With rollback disabled, the tasks of several updates succeed although another resource fails. One rollback
/// undoes all of these updates.
#[test]
fn d06_a_rollback_returns_over_several_deployments_that_were_kept() {
    let mut ledger = at_version_1();
    let mut entries: BTreeMap<EntryKey, Entry> = BTreeMap::new();
    for (version, status) in [("2", Status::Completed), ("3", Status::Completed), ("4", Status::Failed)] {
        let entry = forward_of(&update(version, version), &ledger);
        ledger = closed(entry, status);
        let newest = ledger.newest.clone().unwrap();
        entries.insert(newest.key.clone(), newest);
    }
    let back = update("r9", "1");
    assert_eq!(kind(&back, &ledger), Kind::Forward(Course::Update));
    let course = resolve(kind(&back, &ledger), Direction::Back, StackPhase::RollingBack);
    assert_eq!(course, Course::Rollback);
    while let Some(entry) = missing_before(&back, &ledger).map(|key| entries[key].clone()) {
        ledger.before.push(entry);
    }
    let versions: Vec<_> = ledger.before.iter().map(|entry| entry.deployment.version.as_str()).collect();
    assert_eq!(versions, ["3", "2"]);
    let rollback = rollback_of(&back, &ledger);
    assert_eq!(rollback.previous.as_ref().unwrap().version, "1");
    let undone: Vec<_> = rollback.tasks.iter().map(|task| (task.name.as_str(), task.undoes.len())).collect();
    assert_eq!(undone, [("a", 2), ("b", 2)]);
    // A rollback to properties that are not in the ledger undoes only the newest deployment.
    let unknown = rollback_of(&update("r9", "7"), &ledger);
    assert_eq!((unknown.tasks.len(), unknown.previous.unwrap().version.as_str()), (0, "3"));
}

#[test]
fn l07_a_create_that_is_rolled_back_was_no_success() {
    let ledger = at_version_1();
    let after = |phase, sent_at| {
        after_delete(&ledger, phase, "d", sent_at, at(300)).map(|after| (after.successful, after.deleted))
    };
    let success = ledger.latest.as_ref().unwrap().successful.clone();
    for phase in [None, Some(StackPhase::Over), Some(StackPhase::Updating)] {
        assert_eq!(after(phase, None), Some((success.clone(), Some(at(300)))), "{phase:?}");
    }
    for phase in [StackPhase::RollingBack, StackPhase::RolledBack] {
        assert_eq!(after(Some(phase), Some(at(200))), Some((None, Some(at(200)))));
        // The request is older than the resource's latest creation.
        assert_eq!(after(Some(phase), Some(at(50))), None);
    }
    let back = Some(StackPhase::RollingBack);
    let updated = closed(forward_of(&update("r2", "2"), &ledger), Status::Completed);
    assert_eq!(after_delete(&updated, back, "d", None, at(300)).unwrap().successful.unwrap().version, "2");
    // The resource was added again, and its second Create was never opened.
    let mut deleted = ledger.clone();
    deleted.latest.as_mut().unwrap().deleted = Some(at(200));
    assert_eq!(after_delete(&deleted, back, "d", None, at(300)).unwrap().successful, success);
    let new = after_delete(&Ledger::default(), back, "d", None, at(300)).unwrap();
    assert_eq!((new.entry.request_id(), new.successful, new.deleted), ("d", None, Some(at(300))));
}
