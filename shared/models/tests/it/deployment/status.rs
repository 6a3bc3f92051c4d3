//! The statuses of a stack.

use lamplighter_core::deployment::StackPhase;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StackStatus {
    Creating,
    Created,
    RollingBackCreation,
    CreationRolledBack,
    Updating,
    CleaningUp,
    Updated,
    UpdateFailed,
    RollingBack,
    RollbackFailed,
    CleaningUpRollback,
    RolledBack,
    Deleting,
    Deleted,
}

impl StackStatus {
    pub fn text(self) -> &'static str {
        match self {
            Self::Creating => "CREATE_IN_PROGRESS",
            Self::Created => "CREATE_COMPLETE",
            Self::RollingBackCreation => "ROLLBACK_IN_PROGRESS",
            Self::CreationRolledBack => "ROLLBACK_COMPLETE",
            Self::Updating => "UPDATE_IN_PROGRESS",
            Self::CleaningUp => "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS",
            Self::Updated => "UPDATE_COMPLETE",
            Self::UpdateFailed => "UPDATE_FAILED",
            Self::RollingBack => "UPDATE_ROLLBACK_IN_PROGRESS",
            Self::RollbackFailed => "UPDATE_ROLLBACK_FAILED",
            Self::CleaningUpRollback => "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS",
            Self::RolledBack => "UPDATE_ROLLBACK_COMPLETE",
            Self::Deleting => "DELETE_IN_PROGRESS",
            Self::Deleted => "DELETE_COMPLETE",
        }
    }

    pub fn phase(self) -> StackPhase {
        StackPhase::of(self.text())
    }

    /// Returns whether no operation is in progress, so that an update may begin.
    pub fn is_at_rest(self) -> bool {
        matches!(self, Self::Created | Self::Updated | Self::RolledBack)
    }

    pub fn goes_forward(self) -> bool {
        matches!(self, Self::Creating | Self::Updating)
    }
}
