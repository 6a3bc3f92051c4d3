//! Exhaustive check of the lock: every interleaving of processes that claim, run, record, release, are killed
//! and delivered twice, each with a clock of its own. `docs/lock.md` says what that proves, and what it does
//! not.
//!
//! `core`'s own functions make the decisions. [`protocol`] has the order in which a process calls them, and
//! its writes in between.

mod properties;
mod protocol;
mod world;

use lamplighter_core::definition::Overlap;
use properties::{
    ALL_RECORDED, ALONE, COMMITS_IN_ORDER, NOT_FORGOTTEN, ONE_BODY, ONE_RUN_A_TICK, OWN_LEASE, RECORD_STANDS,
};
use stateright::{Checker, HasDiscoveries, Model};
use world::{Delivery, Fault, Lock};

const TICK: i64 = 100;

/// A delivery for a tick.
fn tick(run: u128, minute: i64) -> Delivery {
    Delivery { run, tick: Some(TICK + minute) }
}

/// A delivery for a manual run, which has no tick.
fn manual(run: u128) -> Delivery {
    Delivery { run, tick: None }
}

/// Clocks at their maximum difference, one process that dies, and one claim that arrives twice.
fn lock(overlap: Overlap, deliveries: &[Delivery]) -> Lock {
    Lock {
        overlap,
        deliveries: deliveries.to_vec(),
        skew: 1,
        margin: 1,
        watched: false,
        kills: 1,
        copies: 1,
        horizon: 4,
        commits: false,
        overlaps: overlap == Overlap::Allow,
        fault: Fault::None,
    }
}

/// Checks every state, and prints their number.
#[track_caller]
fn holds(what: &str, lock: Lock) {
    let checker = lock.checker().threads(2).spawn_bfs().join();
    println!("{what}: {} states, {} steps at most", checker.unique_state_count(), checker.max_depth());
    checker.assert_properties();
}

/// Finds a path that breaks a property.
#[track_caller]
fn breaks(property: &'static str, lock: Lock) {
    let enough = HasDiscoveries::AnyOf([property].into());
    let checker = lock.checker().threads(2).finish_when(enough).spawn_bfs().join();
    let Some(path) = checker.discovery(property) else {
        panic!("{property}: no counterexample in {} states", checker.unique_state_count());
    };
    println!("{property}: broken by {:?}", path.into_actions());
}

#[test]
fn c20_one_tick_from_two_triggers_and_a_later_one() {
    holds("skip, one tick twice and another", lock(Overlap::Skip, &[tick(1, 0), tick(2, 0), tick(3, 1)]));
}

#[test]
fn one_run_delivered_twice_and_another() {
    let runs = lock(Overlap::Skip, &[manual(1), manual(1), manual(2)]);
    holds("skip, one manual run twice and another", Lock { kills: 0, horizon: 3, ..runs.clone() });
    holds("skip, one manual run twice and another, killed", Lock { copies: 0, horizon: 3, ..runs });
}

#[test]
fn c14_overlapping_runs() {
    let beside = lock(Overlap::Allow, &[tick(1, 0), tick(2, 0), manual(3)]);
    holds("allow, a tick twice and a manual run", Lock { copies: 0, horizon: 3, ..beside });
}

/// Three million further states, which take some minutes.
#[test]
#[ignore = "takes minutes: run it when the claim is changed"]
fn everything_at_once() {
    let runs = lock(Overlap::Skip, &[manual(1), manual(1), manual(2)]);
    holds("skip, one manual run twice and another", runs);
    let beside = lock(Overlap::Allow, &[tick(1, 0), tick(2, 0), manual(3)]);
    holds("allow, a tick twice and a manual run", beside);
    let ticks = lock(Overlap::Skip, &[tick(1, 0), tick(2, 0), tick(3, 1)]);
    holds("skip, three ticks, two takeovers", Lock { copies: 0, horizon: 6, ..ticks });
}

#[test]
fn one_run_delivered_twice_overlaps_another() {
    holds("allow, one manual run twice", lock(Overlap::Allow, &[manual(1), manual(1)]));
}

#[test]
fn c15_a_finder_ends_lost_runs() {
    let deliveries = [tick(1, 0), tick(2, 1)];
    holds("skip, watched", Lock { watched: true, ..lock(Overlap::Skip, &deliveries) });
    holds("allow, watched", Lock { watched: true, copies: 0, ..lock(Overlap::Allow, &deliveries) });
}

/// Beyond the margin two bodies may run at once. The fencing token still prevents the effects of the one that
/// counts as lost.
#[test]
fn beyond_the_margin_the_fencing_token_protects() {
    let skewed = Lock {
        skew: 2,
        copies: 0,
        kills: 0,
        horizon: 3,
        commits: true,
        ..lock(Overlap::Skip, &[tick(1, 0), tick(2, 1)])
    };
    breaks(ALONE, skewed.clone());
    holds("skip, beyond the margin", Lock { overlaps: true, ..skewed.clone() });
    breaks(COMMITS_IN_ORDER, Lock { fault: Fault::CommitAlways, overlaps: true, ..skewed });
}

/// Each rule is needed: without it a check fails.
#[test]
fn each_rule_is_needed() {
    let ticks = lock(Overlap::Skip, &[tick(1, 0), tick(2, 1)]);
    breaks(ALONE, Lock { margin: 0, ..ticks.clone() });
    breaks(OWN_LEASE, Lock { fault: Fault::ReleaseOfAny, ..ticks.clone() });
    let three = lock(Overlap::Skip, &[tick(1, 0), tick(2, 1), tick(3, 2)]);
    breaks(ALONE, Lock { fault: Fault::ReleaseOfAny, kills: 0, copies: 0, ..three });
    breaks(RECORD_STANDS, Lock { fault: Fault::RecordAlways, ..ticks.clone() });
    breaks(NOT_FORGOTTEN, Lock { fault: Fault::RecordAfterTakeover, ..ticks.clone() });
    breaks(ALL_RECORDED, Lock { fault: Fault::RecordAfterTakeover, ..ticks });
    let twice = lock(Overlap::Skip, &[tick(1, 0), tick(2, 0)]);
    breaks(ONE_RUN_A_TICK, Lock { fault: Fault::TickForgotten, ..twice });
    let runs = lock(Overlap::Skip, &[manual(1), manual(1)]);
    breaks(ONE_BODY, Lock { fault: Fault::NoLook, ..runs });
}
