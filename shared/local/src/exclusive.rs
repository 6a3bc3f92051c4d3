//! Changes of a table that nobody comes between, for whoever has the engine in its own process.

use std::{collections::HashMap, fmt, sync::Weak};

use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};
use dynoxide::{
    DynoxideError,
    actions::{
        batch_write_item::{self, BatchWriteItemRequest, PutRequest, WriteRequest},
        get_item::{self, GetItemRequest},
    },
    storage::Storage,
};
use lamplighter_aws::table::{Exclusive, Item};

use crate::{store::ready, table::Open};

/// The engine, as long as it is open.
pub(crate) struct Alone(pub(crate) Weak<Open>);

impl fmt::Debug for Alone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Alone")
    }
}

impl Exclusive for Alone {
    fn change(
        &self,
        table: &str,
        keys: &[(String, String)],
        decide: &mut dyn FnMut(usize, Option<Item>) -> Option<Item>,
    ) -> Result<(), String> {
        let open = self.0.upgrade().ok_or("the table is closed")?;
        let changed = open.store.with(|opened| {
            opened.at_once(|storage| {
                let mut puts = Vec::with_capacity(keys.len());
                for (place, (pk, sk)) in keys.iter().enumerate() {
                    if let Some(item) = decide(place, read(storage, table, pk, sk)?) {
                        let item = theirs(item)?;
                        puts.push(WriteRequest {
                            put_request: Some(PutRequest { item }),
                            delete_request: None,
                        });
                    }
                }
                if puts.is_empty() {
                    return Ok(());
                }
                let request_items = HashMap::from([(table.to_owned(), puts)]);
                let request = BatchWriteItemRequest { request_items, ..BatchWriteItemRequest::default() };
                ready(batch_write_item::execute(storage, request)).map(drop)
            })
        });
        changed.map_err(|error| error.to_string())
    }
}

fn read(storage: &Storage, table: &str, pk: &str, sk: &str) -> dynoxide::Result<Option<Item>> {
    let key = [("pk", pk), ("sk", sk)];
    let key =
        key.map(|(name, value)| (name.to_owned(), dynoxide::AttributeValue::S(value.to_owned()))).into();
    let request = GetItemRequest { table_name: table.to_owned(), key, ..GetItemRequest::default() };
    let found = ready(get_item::execute(storage, request))?;
    Ok(found.item.map(ours))
}

fn ours(item: dynoxide::Item) -> Item {
    item.into_iter().map(|(name, value)| (name, our_value(value))).collect()
}

fn our_value(value: dynoxide::AttributeValue) -> AttributeValue {
    use dynoxide::AttributeValue as Theirs;
    match value {
        Theirs::S(text) => AttributeValue::S(text),
        Theirs::N(number) => AttributeValue::N(number),
        Theirs::B(bytes) => AttributeValue::B(Blob::new(bytes)),
        Theirs::BOOL(it) => AttributeValue::Bool(it),
        Theirs::NULL(it) => AttributeValue::Null(it),
        Theirs::SS(texts) => AttributeValue::Ss(texts),
        Theirs::NS(numbers) => AttributeValue::Ns(numbers),
        Theirs::BS(all) => AttributeValue::Bs(all.into_iter().map(Blob::new).collect()),
        Theirs::L(list) => AttributeValue::L(list.into_iter().map(our_value).collect()),
        Theirs::M(map) => AttributeValue::M(ours(map)),
    }
}

fn theirs(item: Item) -> dynoxide::Result<dynoxide::Item> {
    item.into_iter().map(|(name, value)| Ok((name, their_value(value)?))).collect()
}

fn their_value(value: AttributeValue) -> dynoxide::Result<dynoxide::AttributeValue> {
    use dynoxide::AttributeValue as Theirs;
    Ok(match value {
        AttributeValue::S(text) => Theirs::S(text),
        AttributeValue::N(number) => Theirs::N(number),
        AttributeValue::B(bytes) => Theirs::B(bytes.into_inner()),
        AttributeValue::Bool(it) => Theirs::BOOL(it),
        AttributeValue::Null(it) => Theirs::NULL(it),
        AttributeValue::Ss(texts) => Theirs::SS(texts),
        AttributeValue::Ns(numbers) => Theirs::NS(numbers),
        AttributeValue::Bs(all) => Theirs::BS(all.into_iter().map(Blob::into_inner).collect()),
        AttributeValue::L(list) => {
            Theirs::L(list.into_iter().map(their_value).collect::<dynoxide::Result<_>>()?)
        }
        AttributeValue::M(map) => Theirs::M(theirs(map)?),
        other => {
            let text = format!("an attribute of a kind that the engine does not know: {other:?}");
            return Err(DynoxideError::ValidationException(text));
        }
    })
}
