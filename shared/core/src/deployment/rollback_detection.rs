//! The kind of a custom-resource event: a deployment, or the rollback of one.
//!
//! An Update event does not say whether it is a deployment or a rollback. CloudFormation sends an Update only
//! if a property of the resource changes. So the properties and the ledger distinguish the two. A return to the
//! properties before the newest success is ambiguous. The order of the stack's events then decides.

use super::{Change, Course, Direction, Entry, EntryKey, Ledger, Properties, Request, StackPhase};

/// The kind of an event, by the event and the ledger alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum Kind {
    /// A deployment.
    Forward(Course),
    /// The rollback of the newest deployment.
    Rollback,
    /// Ambiguous: the stack's events decide.
    Undecided,
}

/// Determines the kind of an event.
///
/// | event | newest entry of the ledger | kind |
/// |---|---|---|
/// | Create | any | a deployment |
/// | Update to the properties in effect | has failed or is not over, or is a rollback | a rollback |
/// | Update to the properties in effect | has succeeded or does not exist | undecided |
/// | Update to those before the newest success | has succeeded | undecided |
/// | Update to any others | any | a deployment |
///
/// An old ledger may lack its properties. Then an Update is undecided.
pub fn kind(request: &Request, ledger: &Ledger) -> Kind {
    if request.change == Change::Create {
        return Kind::Forward(Course::Deploy);
    }
    let newest = ledger.newest.as_ref();
    match ledger.in_effect() {
        None => Kind::Undecided,
        Some(in_effect) if *in_effect == request.properties => match newest {
            Some(newest) if newest.course == Course::Rollback || !newest.succeeded() => Kind::Rollback,
            _ => Kind::Undecided,
        },
        Some(_) if newest.is_some_and(|newest| may_return(request, newest)) => Kind::Undecided,
        Some(_) => Kind::Forward(Course::Update),
    }
}

/// Returns the entry to read next for a rollback over several deployments: the success before the last known
/// one.
///
/// Returns nothing once the properties of the request are reached, or if the ledger goes back no further.
pub fn missing_before<'a>(request: &Request, ledger: &'a Ledger) -> Option<&'a EntryKey> {
    let newest = ledger.newest.as_ref().filter(|newest| newest.course != Course::Rollback)?;
    let last = ledger.before.last().unwrap_or(newest);
    let previous = last.previous.as_ref()?;
    let is_reached = |properties: Option<&Properties>| properties == Some(&request.properties);
    if is_reached(ledger.in_effect()) || is_reached(previous.properties.as_ref()) {
        return None;
    }
    previous.entry.as_ref()
}

/// Returns whether a request may return to the state before a deployment that succeeded.
fn may_return(request: &Request, newest: &Entry) -> bool {
    let before = newest.previous.as_ref().filter(|_| newest.course != Course::Rollback && newest.succeeded());
    before.is_some_and(|before| before.properties.as_ref().is_none_or(|it| *it == request.properties))
}

/// Returns the course of an event.
///
/// For an undecided event, the order of the stack's events decides, or else the stack's status. An Update that
/// the stack sent during a rollback is a rollback. It may undo several deployments that were kept while
/// rollback was disabled.
pub fn resolve(kind: Kind, order: Direction, phase: StackPhase) -> Course {
    match (kind, order) {
        (Kind::Rollback, _) | (Kind::Undecided | Kind::Forward(Course::Update), Direction::Back) => {
            Course::Rollback
        }
        (Kind::Forward(course), _) => course,
        (Kind::Undecided, Direction::Unknown) if phase.is_rollback() => Course::Rollback,
        (Kind::Undecided, Direction::Forward | Direction::Unknown) => Course::Update,
    }
}
