//! The answers to requests of CloudFormation: decided once, sent by one delivery at a time to each URL.

use aws_sdk_dynamodb::{
    operation::update_item::builders::UpdateItemFluentBuilder,
    types::{AttributeValue, ReturnValuesOnConditionCheckFailure},
};
use jiff::Timestamp;
use lamplighter_core::deployment::{Answered, EntryKey};

use crate::table::{
    RequestKey, Table, TableError,
    conditional::Conditional,
    item::{n, s, to_item, to_json},
    keys::Key,
};

impl Table {
    /// Decides the answer of a request without an entry, once. Returns the decided answer, and whether it is `answer`.
    /// Returns `None` if the request has an entry by now: then [`Table::close`] decides. One write.
    pub async fn answer(
        &self,
        request: RequestKey<'_>,
        answer: &Answered,
    ) -> Result<Option<(Answered, bool)>, TableError> {
        let value = serde_json::to_value(answer).map_err(|error| self.unreadable(request.ledger, &error))?;
        let update = self
            .request_update(request)
            .update_expression(
                "SET answer = :answer, first_at = if_not_exists(first_at, :now), \
                 expires_at = if_not_exists(expires_at, :expires)",
            )
            .condition_expression("attribute_not_exists(answer) AND attribute_not_exists(#entry)")
            .expression_attribute_names("#entry", "entry")
            .expression_attribute_values(":answer", AttributeValue::M(to_item(value)))
            .expression_attribute_values(":now", n(answer.at.as_millisecond()))
            .expression_attribute_values(":expires", self.ledger_expiry(answer.at))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match self.conditional("note an answer", update.send().await)? {
            Conditional::Done(_) => Ok(Some((answer.clone(), true))),
            Conditional::Refused(item) => {
                let item = to_json(item);
                let Some(stands) = item.get("answer") else { return Ok(None) };
                let stands: Answered = self.read_as(request.ledger, stands.clone())?;
                let own = stands == *answer;
                Ok(Some((stands, own)))
            }
        }
    }

    /// Returns the decided answer of a request, which is stored in its entry if it has one. One consistent read.
    pub async fn answered(
        &self,
        request: RequestKey<'_>,
        entry: Option<&EntryKey>,
    ) -> Result<Option<Answered>, TableError> {
        let item =
            self.get(answer_key(request, entry), "read an answer").await?.map(to_json).unwrap_or_default();
        match item.get("answer") {
            Some(answer) => self.read_as(request.ledger, answer.clone()).map(Some),
            None => Ok(None),
        }
    }

    /// Claims the sending of an answer to the URL with this digest. Returns false if another delivery has claimed it:
    /// then nothing changes. One write.
    pub async fn claim_sending(
        &self,
        request: RequestKey<'_>,
        entry: Option<&EntryKey>,
        to: &str,
        now: Timestamp,
    ) -> Result<bool, TableError> {
        let update = self
            .answer_update(request, entry)
            .update_expression(
                "SET answer.sending_to = list_append(if_not_exists(answer.sending_to, :none), :tos), \
                 answer.sent_at = :at",
            )
            .condition_expression("attribute_exists(answer) AND NOT contains(answer.sending_to, :to)")
            .expression_attribute_values(":none", AttributeValue::L(Vec::new()))
            .expression_attribute_values(":tos", AttributeValue::L(vec![s(to)]))
            .expression_attribute_values(":to", s(to))
            .expression_attribute_values(":at", s(now.to_string()));
        self.applied("note that an answer is sent", update.send().await)
    }

    /// Notes that an answer is sent once more at `now`. One write.
    pub async fn sending(
        &self,
        request: RequestKey<'_>,
        entry: Option<&EntryKey>,
        now: Timestamp,
    ) -> Result<(), TableError> {
        self.answer_update(request, entry)
            .update_expression("SET answer.sent_at = :at")
            .condition_expression("attribute_exists(answer)")
            .expression_attribute_values(":at", s(now.to_string()))
            .send()
            .await
            .map(drop)
            .map_err(|error| self.failed("note that an answer is sent", &error))
    }

    /// Notes that an answer has arrived at the URL with this digest. One write.
    pub async fn delivered(
        &self,
        request: RequestKey<'_>,
        entry: Option<&EntryKey>,
        to: &str,
    ) -> Result<(), TableError> {
        self.answer_update(request, entry)
            .update_expression(
                "SET answer.delivered_to = list_append(if_not_exists(answer.delivered_to, :none), :to)",
            )
            .condition_expression("attribute_exists(answer)")
            .expression_attribute_values(":none", AttributeValue::L(Vec::new()))
            .expression_attribute_values(":to", AttributeValue::L(vec![s(to)]))
            .send()
            .await
            .map(drop)
            .map_err(|error| self.failed("note an answer's arrival", &error))
    }

    fn answer_update(&self, request: RequestKey<'_>, entry: Option<&EntryKey>) -> UpdateItemFluentBuilder {
        self.update(answer_key(request, entry))
    }
}

/// The item that holds the answer of a request.
fn answer_key(request: RequestKey<'_>, entry: Option<&EntryKey>) -> Key {
    match entry {
        Some(entry) => Key::entry(request.ledger, entry),
        None => request.key(),
    }
}
