//! The stack, its events, and the moves of CloudFormation.

use lamplighter_core::deployment::StackEvent;

use super::{
    life::{OnFailure, Start, at, properties},
    request::Way,
    status::StackStatus,
};

/// The stack, as CloudFormation knows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stack {
    pub status: StackStatus,
    /// The properties of the resource in the template; none if it is not there.
    pub target: Option<u8>,
    pub on_failure: OnFailure,
    /// The request of the current operation was sent.
    pub has_sent: bool,
    /// The request that CloudFormation waits for.
    pub waits_for: Option<usize>,
    /// The properties that were last sent for the resource.
    pub resource: Option<u8>,
    /// The last request for the resource has not succeeded.
    pub unsure: bool,
    /// A request was sent since the stack was at rest.
    pub touched: bool,
    /// The resource's properties when the stack was last at rest.
    pub stable: Option<u8>,
    /// The properties of the last deployment that succeeded and was not undone.
    pub effect: Option<u8>,
    /// The properties in effect when the stack was last at rest.
    pub stable_effect: Option<u8>,
    /// The first request since the stack was at rest.
    pub since: usize,
    pub events: Vec<Event>,
}

/// One stack event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    Stack(StackStatus, usize),
    /// The resource is updated to these properties.
    Resource(u8, usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// The next update begins.
    Update,
    /// The stack is deleted.
    Delete,
    /// The resource's request is sent.
    Send,
    /// The other resource fails.
    OtherFails,
    /// The wait for an answer ends.
    Timeout,
    /// The current operation is done.
    Finish,
    /// A rollback that failed, or a failure that was kept, is rolled back.
    RollBack,
}

impl Stack {
    pub fn new(start: Start) -> Self {
        let status = if start == Start::Creation { StackStatus::Creating } else { StackStatus::Created };
        let resource = (start == Start::Deployed).then_some(1);
        let effect = resource.or((start == Start::Removed).then_some(1));
        Self {
            status,
            target: Some(1),
            on_failure: OnFailure::RollBack,
            has_sent: false,
            waits_for: None,
            resource,
            unsure: false,
            touched: false,
            stable: resource,
            effect,
            stable_effect: effect,
            since: 0,
            events: vec![Event::Stack(StackStatus::Creating, 0)],
        }
    }

    /// Returns the request that is to be sent now.
    pub fn due(&self) -> Option<(Way, Option<u8>)> {
        let differs = |to: Option<u8>| self.resource != to || self.unsure;
        match self.status {
            _ if self.has_sent => None,
            StackStatus::Creating => Some((Way::Create, self.target)),
            StackStatus::Updating if self.target.is_some() && differs(self.target) => {
                Some((if self.resource.is_none() { Way::Create } else { Way::Update }, self.target))
            }
            StackStatus::RollingBack if self.stable.is_some() && self.touched && differs(self.stable) => {
                Some((Way::Rollback, self.stable))
            }
            StackStatus::RollingBackCreation if self.touched => Some((Way::Delete, None)),
            StackStatus::CleaningUp | StackStatus::CleaningUpRollback | StackStatus::Deleting
                if self.resource.is_some() =>
            {
                Some((Way::Delete, None))
            }
            _ => None,
        }
    }

    /// Returns the stack's events, newest first, without this many of the newest.
    pub fn events(&self, missing: usize) -> Vec<StackEvent> {
        let event = |event: &Event| match event {
            Event::Stack(status, unit) => StackEvent {
                at: at(*unit),
                logical_id: "shop".into(),
                is_stack: true,
                status: status.text().into(),
                properties: None,
            },
            Event::Resource(to, unit) => StackEvent {
                at: at(*unit),
                logical_id: "Tasks".into(),
                is_stack: false,
                status: "UPDATE_IN_PROGRESS".into(),
                properties: Some(properties(*to)),
            },
        };
        self.events.iter().rev().skip(missing).map(event).collect()
    }
}
