//! What a custom-resource event is: a deployment, or the rollback of one.
//!
//! An Update event does not say which. CloudFormation sends one only if a property differs from those in effect, so the
//! properties and the ledger tell the two apart. Only a return to the properties before the newest success may be
//! either; then the order of the stack's events decides.

use super::{Change, Course, Entry, EntryKey, Ledger, Order, Properties, Request, StackPhase};

/// What an event is, from the event and the ledger alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum Kind {
    /// A deployment.
    Forward(Course),
    /// The rollback of the newest deployment.
    Rollback,
    /// Either: the stack's events decide.
    Undecided,
}

/// Tells what an event is.
///
/// | event | the ledger's newest entry | is |
/// |---|---|---|
/// | Create | any | a deployment |
/// | Update to the properties in effect | has failed or is not over, or is a rollback | a rollback |
/// | Update to the properties in effect | has succeeded or is not there | undecided |
/// | Update to those before the newest success | has succeeded | undecided |
/// | Update to any others | any | a deployment |
///
/// Where a ledger does not know its properties, which it once did not record, an Update is undecided.
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

/// The entry that must be read next to plan a rollback over several deployments: that of the success before the last one
/// that is known. Nothing if the properties that the request returns to are reached, or the ledger leads no further.
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

/// Whether a request may return to what was before a deployment that succeeded.
fn may_return(request: &Request, newest: &Entry) -> bool {
    let before = newest.previous.as_ref().filter(|_| newest.course != Course::Rollback && newest.succeeded());
    before.is_some_and(|before| before.properties.as_ref().is_none_or(|it| *it == request.properties))
}

/// The course of an event. An undecided one follows the order of the stack's events, and where they do not show it, the
/// stack's status. An Update that the stack sent in a rollback is one, also to properties from before several deployments:
/// those were kept, since rollback was disabled.
pub fn resolve(kind: Kind, order: Order, phase: StackPhase) -> Course {
    match (kind, order) {
        (Kind::Rollback, _) | (Kind::Undecided | Kind::Forward(Course::Update), Order::Back) => {
            Course::Rollback
        }
        (Kind::Forward(course), _) => course,
        (Kind::Undecided, Order::Unknown) if phase.is_rollback() => Course::Rollback,
        (Kind::Undecided, Order::Forward | Order::Unknown) => Course::Update,
    }
}
