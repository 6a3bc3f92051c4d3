//! The result of a conditional write.

use aws_sdk_dynamodb::{
    error::SdkError,
    operation::{delete_item::DeleteItemError, put_item::PutItemError, update_item::UpdateItemError},
};

use super::{Table, TableError, item::Item};

/// The result of a conditional write, or of a step that consists of several writes.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub enum Conditional<T, R = Item> {
    /// The condition held: the change is made.
    Done(T),
    /// The condition did not hold, so nothing has changed. For a write this has the current item if the write requests
    /// it, otherwise an empty one.
    Refused(R),
}

impl<T, R> Conditional<T, R> {
    /// Returns true if the change is made.
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done(_))
    }

    /// The result of a change that is made.
    pub fn done(self) -> Option<T> {
        match self {
            Self::Done(done) => Some(done),
            Self::Refused(_) => None,
        }
    }
}

/// An error of a write that may have a condition.
pub(crate) trait WriteError: std::error::Error + 'static {
    /// The item, if the condition did not hold. It is empty if the write does not ask for it, or if there is none.
    fn refused(&self) -> Option<Item>;
}

macro_rules! write_errors {
    ($($error:ident),+) => {$(
        impl WriteError for $error {
            fn refused(&self) -> Option<Item> {
                match self {
                    Self::ConditionalCheckFailedException(refused) => Some(refused.item.clone().unwrap_or_default()),
                    _ => None,
                }
            }
        }
    )+};
}

write_errors!(DeleteItemError, PutItemError, UpdateItemError);

impl Table {
    /// Sorts the response of a conditional write. `what` names the operation in errors.
    pub(crate) fn conditional<T, E: WriteError>(
        &self,
        what: &'static str,
        sent: Result<T, SdkError<E>>,
    ) -> Result<Conditional<T>, TableError> {
        match sent {
            Ok(output) => Ok(Conditional::Done(output)),
            Err(error) => match error.as_service_error().and_then(WriteError::refused) {
                Some(item) => Ok(Conditional::Refused(item)),
                None => Err(self.failed(what, &error)),
            },
        }
    }

    /// Sorts the response of a conditional write whose output does not matter. Returns false if the condition did not hold.
    pub(crate) fn applied<T, E: WriteError>(
        &self,
        what: &'static str,
        sent: Result<T, SdkError<E>>,
    ) -> Result<bool, TableError> {
        self.conditional(what, sent).map(|written| written.is_done())
    }
}
