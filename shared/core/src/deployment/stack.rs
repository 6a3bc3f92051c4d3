//! The phase of a stack, and the order of its events.

use std::fmt;

use jiff::Timestamp;

use super::{Change, Course, Properties};
use crate::claim::SKEW_MARGIN;

/// The phase of a stack, as far as it matters for a deployment.
///
/// Source: CloudFormation User Guide, "Understand CloudFormation stack creation events", stack status codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StackPhase {
    /// The stack is being created.
    Creating,
    /// The stack is being updated.
    Updating,
    /// Resources are being imported into the stack.
    Importing,
    /// The stack is returning to the state before a change.
    RollingBack,
    /// The stack has returned, or could not.
    RolledBack,
    /// The stack waits for nothing: it is at rest, being deleted, or deleted.
    Over,
}

impl StackPhase {
    /// Reads a stack's status, such as `UPDATE_ROLLBACK_IN_PROGRESS`.
    pub fn of(status: &str) -> Self {
        match status {
            "CREATE_IN_PROGRESS" => Self::Creating,
            "UPDATE_IN_PROGRESS" => Self::Updating,
            "IMPORT_IN_PROGRESS" => Self::Importing,
            _ if status.contains("ROLLBACK") && status.ends_with("_IN_PROGRESS") => Self::RollingBack,
            _ if status.contains("ROLLBACK") => Self::RolledBack,
            _ => Self::Over,
        }
    }

    /// Returns whether the stack waits for a deployment on this course.
    ///
    /// A resource is created with its stack, or by an update that adds it. A return to earlier properties
    /// belongs to a rollback, or to an update after a failure that was kept while rollback was disabled.
    pub fn waits_for(self, course: Course) -> bool {
        match course {
            Course::Deploy => matches!(self, Self::Creating | Self::Updating),
            Course::Update => matches!(self, Self::Updating | Self::Importing),
            Course::Rollback => matches!(self, Self::RollingBack | Self::Updating | Self::Importing),
        }
    }

    /// Returns whether the stack is in a rollback, or a rollback was its last change.
    pub fn is_rollback(self) -> bool {
        matches!(self, Self::RollingBack | Self::RolledBack)
    }
}

impl fmt::Display for StackPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Creating => "it is being created",
            Self::Updating => "it is being updated",
            Self::Importing => "it is importing resources",
            Self::RollingBack => "it is rolling back",
            Self::RolledBack => "its rollback is over",
            Self::Over => "it is at rest, or being deleted",
        })
    }
}

/// An event of a stack: a resource, or the stack itself, has reached a status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackEvent {
    /// The time of the event.
    pub at: Timestamp,
    /// The resource in the template; the stack's name for the stack itself.
    pub logical_id: String,
    /// The event is about the stack itself.
    pub is_stack: bool,
    /// The status, such as `UPDATE_IN_PROGRESS`.
    pub status: String,
    /// The resource's properties, if the event has them.
    pub properties: Option<Properties>,
}

/// The direction of the stack when it sent an Update to a resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The stack's operation in progress was an update or an import.
    Forward,
    /// The stack's operation in progress was a rollback.
    Back,
    /// The events do not show it. CloudFormation publishes them some seconds late.
    #[default]
    Unknown,
}

/// An Update request that is looked for in the stack's events.
#[derive(Clone, Copy, Debug)]
pub struct SentUpdate<'a> {
    /// The resource.
    pub logical_id: &'a str,
    /// The properties in the request.
    pub properties: &'a Properties,
    /// The time of the ledger's newest entry. Older events belong to earlier requests.
    pub since: Timestamp,
    /// The time at which the request was sent, if known.
    pub at: Option<Timestamp>,
}

/// Determines the direction in which the stack sent an Update, from its events, newest first.
///
/// The event of the request is the resource's newest `UPDATE_IN_PROGRESS` with these properties. It is not
/// older than the newest entry or the request. The preceding event of the stack itself shows the direction. If
/// the event of the request is missing, the start of a rollback is compared with the time of the request. It
/// shows the direction if the two differ by more than 2 s.
pub fn direction(events: &[StackEvent], sent: SentUpdate<'_>) -> Direction {
    let earliest = sent.at.and_then(|at| at.checked_sub(SKEW_MARGIN).ok()).unwrap_or(Timestamp::MIN);
    let earliest = earliest.max(sent.since);
    let own = events.iter().position(|event| {
        !event.is_stack
            && event.logical_id == sent.logical_id
            && event.status == "UPDATE_IN_PROGRESS"
            && event.properties.as_ref().is_none_or(|properties| properties == sent.properties)
            && event.at >= earliest
    });
    if let Some(own) = own {
        return match turned(&events[own..]) {
            Some((StackPhase::RollingBack, _)) => Direction::Back,
            Some(_) => Direction::Forward,
            None => Direction::Unknown,
        };
    }
    let (Some(at), Some((StackPhase::RollingBack, back))) = (sent.at, turned(events)) else {
        return Direction::Unknown;
    };
    match back {
        _ if back > at.saturating_add(SKEW_MARGIN).unwrap_or(Timestamp::MAX) => Direction::Forward,
        _ if back.saturating_add(SKEW_MARGIN).is_ok_and(|back| back < at) => Direction::Back,
        _ => Direction::Unknown,
    }
}

/// Returns the time at which the stack last began to go forward, by its events, newest first.
pub fn went_forward(events: &[StackEvent]) -> Option<Timestamp> {
    let forward = |event: &&StackEvent| {
        let phase = StackPhase::of(&event.status);
        event.is_stack && matches!(phase, StackPhase::Creating | StackPhase::Updating | StackPhase::Importing)
    };
    events.iter().find(forward).map(|event| event.at)
}

/// Returns whether the newest event of the stack itself has this phase. If not, the events and the status were
/// read in different phases.
pub fn shows(events: &[StackEvent], phase: StackPhase) -> bool {
    events.iter().find(|event| event.is_stack).is_some_and(|event| StackPhase::of(&event.status) == phase)
}

/// Returns whether the events from `since` on show a rollback and, after it, an update or an import.
pub fn rolled_back(events: &[StackEvent], since: Timestamp) -> bool {
    let phases = events.iter().filter(|event| event.is_stack && event.at >= since);
    let phases = phases.map(|event| StackPhase::of(&event.status));
    let before = phases.skip_while(|phase| !matches!(phase, StackPhase::Updating | StackPhase::Importing));
    before.into_iter().any(|phase| phase == StackPhase::RollingBack)
}

/// Returns the newest of the stack's own events by which it began to go forward or back.
fn turned(events: &[StackEvent]) -> Option<(StackPhase, Timestamp)> {
    events.iter().filter(|event| event.is_stack).find_map(|event| match StackPhase::of(&event.status) {
        phase @ (StackPhase::Updating | StackPhase::Importing) => Some((phase, event.at)),
        phase @ StackPhase::RollingBack if !event.status.contains("CLEANUP") => Some((phase, event.at)),
        _ => None,
    })
}

impl Change {
    /// Returns the course of a change when the stack goes forward.
    pub fn forward(self) -> Course {
        match self {
            Self::Create => Course::Deploy,
            Self::Update => Course::Update,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn d03_each_status_of_a_stack_has_its_phase() {
        use Course::{Deploy, Rollback, Update};
        for (status, courses) in [
            ("CREATE_IN_PROGRESS", &[Deploy][..]),
            ("UPDATE_IN_PROGRESS", &[Deploy, Update, Rollback]),
            ("IMPORT_IN_PROGRESS", &[Update, Rollback]),
            ("UPDATE_ROLLBACK_IN_PROGRESS", &[Rollback]),
            ("UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS", &[Rollback]),
            ("ROLLBACK_IN_PROGRESS", &[Rollback]),
            ("IMPORT_ROLLBACK_IN_PROGRESS", &[Rollback]),
            ("REVIEW_IN_PROGRESS", &[]),
            ("CREATE_COMPLETE", &[]),
            ("CREATE_FAILED", &[]),
            ("DELETE_IN_PROGRESS", &[]),
            ("DELETE_COMPLETE", &[]),
            ("DELETE_FAILED", &[]),
            ("IMPORT_COMPLETE", &[]),
            ("IMPORT_ROLLBACK_COMPLETE", &[]),
            ("IMPORT_ROLLBACK_FAILED", &[]),
            ("ROLLBACK_COMPLETE", &[]),
            ("ROLLBACK_FAILED", &[]),
            ("UPDATE_COMPLETE", &[]),
            ("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", &[]),
            ("UPDATE_FAILED", &[]),
            ("UPDATE_ROLLBACK_COMPLETE", &[]),
            ("UPDATE_ROLLBACK_FAILED", &[]),
            ("A_NEW_STATUS", &[]),
        ] {
            let phase = StackPhase::of(status);
            let waits: Vec<_> =
                [Deploy, Update, Rollback].into_iter().filter(|course| phase.waits_for(*course)).collect();
            assert_eq!(waits, courses, "{status}");
            assert_eq!(phase.is_rollback(), status.contains("ROLLBACK"), "{status}");
        }
    }

    /// Creates events, oldest first: `stack` or `tasks`, the status, and the version in the properties.
    fn events(reported: &[(&str, &str, &str)]) -> Vec<StackEvent> {
        let event = |(i, (what, status, version)): (usize, &(&str, &str, &str))| StackEvent {
            at: Timestamp::from_second(100 * i64::try_from(i).unwrap()).unwrap(),
            logical_id: (*what).to_owned(),
            is_stack: *what == "stack",
            status: (*status).to_owned(),
            properties: (!version.is_empty()).then(|| Properties::of(&json!({ "Version": version }))),
        };
        let mut events: Vec<_> = reported.iter().enumerate().map(event).collect();
        events.reverse();
        events
    }

    #[test]
    fn d01_the_order_of_events_distinguishes_a_return_from_a_rollback() {
        const UP: &str = "UPDATE_IN_PROGRESS";
        const BACK: &str = "UPDATE_ROLLBACK_IN_PROGRESS";
        // Version 1 was deployed, and then version 2: its entry was opened after the event at 300 s.
        let before = [
            ("stack", "CREATE_IN_PROGRESS", ""),
            ("tasks", UP, "1"),
            ("stack", UP, ""),
            ("tasks", UP, "2"),
            ("tasks", "UPDATE_COMPLETE", "2"),
        ];
        let returned =
            [("stack", UP, ""), ("tasks", UP, "1"), ("tasks", "UPDATE_FAILED", "1"), ("stack", BACK, "")];
        // The events from 500 s on, the time at which the request was sent, and the direction.
        for (what, after, sent_at, expected) in [
            ("a rollback", &[("stack", BACK, ""), ("tasks", UP, "1")][..], None, Direction::Back),
            (
                "a rollback with a date",
                &[("stack", BACK, ""), ("tasks", UP, "1")],
                Some(601),
                Direction::Back,
            ),
            (
                "a rollback without properties",
                &[("stack", BACK, ""), ("tasks", UP, "")],
                None,
                Direction::Back,
            ),
            ("a rollback whose event is not there yet", &[("stack", BACK, "")], None, Direction::Unknown),
            ("sent 1 s after a rollback began", &[("stack", BACK, "")], Some(501), Direction::Unknown),
            ("sent 10 s after a rollback began", &[("stack", BACK, "")], Some(510), Direction::Back),
            ("sent 10 s before a rollback began", &[("stack", BACK, "")], Some(490), Direction::Forward),
            ("nothing is there yet", &[], Some(601), Direction::Unknown),
            (
                "another resource rolls back",
                &[("stack", BACK, ""), ("site", UP, "1")],
                None,
                Direction::Unknown,
            ),
            (
                "a return",
                &[("stack", "UPDATE_COMPLETE", ""), ("stack", UP, ""), ("tasks", UP, "1")],
                None,
                Direction::Forward,
            ),
            ("a return that is cancelled", &returned, None, Direction::Forward),
            ("a return that is cancelled, with a date", &returned, Some(600), Direction::Forward),
            (
                "a return that is rolled back, seen late",
                &[&returned[..], &[("tasks", UP, "2")]].concat(),
                None,
                Direction::Forward,
            ),
        ] {
            let events = events(&[&before[..], after].concat());
            let sent = SentUpdate {
                logical_id: "tasks",
                properties: &Properties::of(&json!({ "Version": "1" })),
                since: Timestamp::from_second(301).unwrap(),
                at: sent_at.map(|second| Timestamp::from_second(second).unwrap()),
            };
            assert_eq!(direction(&events, sent), expected, "{what}");
        }
        for (after, rolled) in [
            (&[][..], false),
            (&[("stack", BACK, "")], false),
            (&[("stack", UP, "")], false),
            (&[("stack", BACK, ""), ("stack", "UPDATE_ROLLBACK_COMPLETE", ""), ("stack", UP, "")], true),
            (&[("stack", UP, ""), ("stack", BACK, "")], false),
        ] {
            let events = events(&[&before[..], after].concat());
            assert_eq!(rolled_back(&events, Timestamp::from_second(301).unwrap()), rolled, "{after:?}");
        }
        let events = events(&before);
        assert!(shows(&events, StackPhase::Updating) && !shows(&events, StackPhase::RollingBack));
        assert_eq!(went_forward(&events), Timestamp::from_second(200).ok());
        // The event of the newest deployment is older than the request, so it is not taken for the request's event.
        let two = Properties::of(&json!({ "Version": "2" }));
        let sent = |since, at| SentUpdate {
            logical_id: "tasks",
            properties: &two,
            since: Timestamp::from_second(since).unwrap(),
            at: Timestamp::from_second(at).ok(),
        };
        assert_eq!(direction(&events, sent(301, 700)), Direction::Unknown);
        assert_eq!(direction(&events, sent(300, 700)), Direction::Unknown);
    }
}
