//! Deletes items past their time to live.

use std::{
    collections::HashMap,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use dynoxide::{
    AttributeValue, Item, Result, TableMetadata,
    actions::{
        delete_item::{self, DeleteItemRequest},
        scan::{self, ScanRequest},
    },
};
use serde::Deserialize;

use crate::store::{Connection, Store, ready};

/// The number of items read at a time. No request is answered meanwhile.
const PAGE: usize = 100;
/// The pause between two pages, for other requests.
const PAUSE: Duration = Duration::from_millis(1);

/// An element of a table's key schema, as the engine stores it.
#[derive(Deserialize)]
struct KeyElement {
    #[serde(rename = "AttributeName")]
    name: String,
}

/// Deletes the items past their TTL in all tables and returns their number. It sleeps between pages, so it needs a thread of its
/// own.
pub(crate) fn sweep(store: &Store) -> Result<usize> {
    let mut deleted = 0;
    for table in store.with(|opened| opened.storage.list_ttl_enabled_tables())? {
        let Some(attribute) = &table.ttl_attribute else { continue };
        let key: Vec<KeyElement> = serde_json::from_str(&table.key_schema).unwrap_or_default();
        let mut from = None;
        loop {
            let (expired, next) = store.with(|opened| page(opened, &table, attribute, &key, from))?;
            deleted += expired;
            from = next;
            if from.is_none() {
                break;
            }
            thread::sleep(PAUSE);
        }
    }
    Ok(deleted)
}

/// Deletes the expired items of one page. Returns their number and the start of the next page.
fn page(
    opened: &Connection,
    table: &TableMetadata,
    attribute: &str,
    key: &[KeyElement],
    from: Option<Item>,
) -> Result<(usize, Option<Item>)> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let found = ready(scan::execute(
        &opened.storage,
        ScanRequest {
            table_name: table.table_name.clone(),
            filter_expression: Some("#ttl < :now".to_owned()),
            expression_attribute_names: Some(HashMap::from([("#ttl".to_owned(), attribute.to_owned())])),
            expression_attribute_values: Some(HashMap::from([(
                ":now".to_owned(),
                AttributeValue::N(now.to_string()),
            )])),
            limit: Some(PAGE),
            exclusive_start_key: from,
            ..ScanRequest::default()
        },
    ))?;
    let expired = found.items.unwrap_or_default();
    let deleted = expired.len();
    if deleted > 0 {
        opened.in_transaction(|storage| {
            for mut item in expired {
                let key = key.iter().filter_map(|it| item.remove_entry(&it.name)).collect();
                let table_name = table.table_name.clone();
                ready(delete_item::execute(
                    storage,
                    DeleteItemRequest { table_name, key, ..DeleteItemRequest::default() },
                ))?;
            }
            Ok(())
        })?;
    }
    Ok((deleted, found.last_evaluated_key))
}
