//! What a custom-resource event is: a deployment, or the rollback of one.
//!
//! An Update event does not say which. CloudFormation sends one only if a property differs from those in effect, so the
//! properties and the ledger tell the two apart. Only a return to the properties before the newest success may be
//! either; then the order of the stack's events decides.

use super::{Change, Course, Entry, Ledger, Order, Request, StackPhase};

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

/// Whether a request may return to what was before a deployment that succeeded.
fn may_return(request: &Request, newest: &Entry) -> bool {
    let before = newest.previous.as_ref().filter(|_| newest.course != Course::Rollback && newest.succeeded());
    before.is_some_and(|before| before.properties.as_ref().is_none_or(|it| *it == request.properties))
}

/// The course of an event. An undecided one follows the order of the stack's events, and where they do not show it, the
/// stack's status.
pub fn resolve(kind: Kind, order: Order, phase: StackPhase) -> Course {
    match (kind, order) {
        (Kind::Forward(course), _) => course,
        (Kind::Rollback, _) | (Kind::Undecided, Order::Back) => Course::Rollback,
        (Kind::Undecided, Order::Unknown) if phase.is_rollback() => Course::Rollback,
        (Kind::Undecided, Order::Forward | Order::Unknown) => Course::Update,
    }
}
