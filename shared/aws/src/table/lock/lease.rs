//! The attributes of a lease in its task's item.

use jiff::Timestamp;
use lamplighter_core::{claim::Lease, id::RunId};
use serde_json::Value;

use crate::table::item::{Item, n, s};

/// The prefix of the attribute with a ledger's newest deployment that started a run of the task. The ledger's name follows.
pub(crate) const DEPLOYED: &str = "deployed#";

/// The prefix of the attribute with the lease of a run that shares its task. The run's id follows.
pub(crate) const SHARED: &str = "lease#";

/// Removes the lease of a run that has its task to itself.
pub(crate) const RELEASE: &str =
    "REMOVE run_id, holder, lease_until, started_at, #trigger, scheduled_for, cancelled, environment";
/// The condition that a run which shares its task still has its lease.
pub(crate) const SHARED_HELD: &str = "attribute_exists(#lease)";
/// The condition that a run which has its task to itself still has its lease.
pub(crate) const HELD: &str = "epoch = :epoch AND run_id = :run_id";

/// The attribute with the lease of a run that shares its task.
pub(crate) fn shared(run: RunId) -> String {
    format!("{SHARED}{run}")
}

/// The map of that attribute. Its names are those of an exclusive lease in the task's item.
pub(crate) fn shared_item(lease: &Lease, environment: &str) -> Item {
    let mut item = Item::from([
        ("run_id".to_owned(), s(lease.run_id.to_string())),
        ("holder".to_owned(), s(lease.holder.as_str())),
        ("lease_until".to_owned(), n(lease.until.as_millisecond())),
        ("started_at".to_owned(), n(lease.started_at.as_millisecond())),
        ("trigger".to_owned(), s(lease.trigger.as_str())),
    ]);
    if !environment.is_empty() {
        item.insert("environment".to_owned(), s(environment));
    }
    if let Some(tick) = lease.scheduled_for {
        item.insert("scheduled_for".to_owned(), n(tick.as_millisecond()));
    }
    item
}

/// Reads a lease from its attributes.
pub(crate) fn lease_of(mut attributes: Value) -> Result<Lease, String> {
    for (name, attribute) in
        [("until", "lease_until"), ("started_at", "started_at"), ("scheduled_for", "scheduled_for")]
    {
        let at = attributes[attribute].as_i64().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        if at.is_none() && !attributes[attribute].is_null() {
            return Err(format!("`{attribute}` is not a time"));
        }
        attributes[name] = at.map_or(Value::Null, |at| Value::String(at.to_string()));
    }
    serde_json::from_value(attributes).map_err(|error| error.to_string())
}
