//! How a lease stands in its task's item.

use jiff::Timestamp;
use lamplighter_core::{claim::Lease, id::RunId};
use serde_json::Value;

use super::item::{Item, n, s};

/// Before a ledger's name: the attribute that holds its newest deployment which started a run of the task.
pub(super) const DEPLOYED: &str = "deployed#";

/// Before a run's id: the attribute that holds its lease, if others may begin beside it.
pub(super) const SHARED: &str = "lease#";

/// Takes a run's hold off its task.
pub(super) const RELEASE: &str =
    "REMOVE run_id, holder, lease_until, started_at, #trigger, scheduled_for, cancelled";
/// Whether a run that shares its task still has its hold.
pub(super) const SHARED_HELD: &str = "attribute_exists(#lease)";
/// Whether a run still has its hold.
pub(super) const HELD: &str = "epoch = :epoch AND run_id = :run_id";

/// The attribute that holds the lease of a run beside which others may begin.
pub(super) fn shared(run: RunId) -> String {
    format!("{SHARED}{run}")
}

/// The lease as the map of that attribute, with the names that an exclusive one has in the task's item.
pub(super) fn shared_item(lease: &Lease) -> Item {
    let mut item = Item::from([
        ("run_id".to_owned(), s(lease.run_id.to_string())),
        ("holder".to_owned(), s(lease.holder.as_str())),
        ("lease_until".to_owned(), n(lease.until.as_millisecond())),
        ("started_at".to_owned(), n(lease.started_at.as_millisecond())),
        ("trigger".to_owned(), s(lease.trigger.as_str())),
    ]);
    if let Some(tick) = lease.scheduled_for {
        item.insert("scheduled_for".to_owned(), n(tick.as_millisecond()));
    }
    item
}

/// The lease that stands among these attributes.
pub(super) fn lease_of(mut attributes: Value) -> Result<Lease, String> {
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
