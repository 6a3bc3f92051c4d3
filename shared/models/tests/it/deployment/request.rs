//! A request of CloudFormation.

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    Create,
    Update,
    Rollback,
    Delete,
}

/// The way in which a request is undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Undone {
    No,
    /// By a rollback.
    RolledBack,
    /// By an Update to the properties before it, after a failure that was kept.
    Returned,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SentRequest {
    pub way: Way,
    pub to: Option<u8>,
    pub old: Option<u8>,
    pub at: usize,
    /// Deliveries that are still to come.
    pub queued: u8,
    /// Its last call has come.
    pub late: bool,
    /// CloudFormation has accepted a SUCCESS for it.
    pub succeeded: bool,
    /// CloudFormation is undoing it, or has.
    pub undone: Undone,
    /// The text of its answer, once one was sent.
    pub answer: Option<String>,
}

impl SentRequest {
    pub fn new(way: Way, to: Option<u8>, old: Option<u8>, at: usize) -> Self {
        Self { way, to, old, at, queued: 1, late: false, succeeded: false, undone: Undone::No, answer: None }
    }

    pub fn is_forward(&self) -> bool {
        matches!(self.way, Way::Create | Way::Update)
    }
}
