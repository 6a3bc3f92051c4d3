//! Group commits: many changes of a table in one transaction, for the process that owns the engine.

use std::{
    collections::{HashMap, HashSet},
    sync::Weak,
};

use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};
use dynoxide::{DynoxideError, ImportOptions, actions::import_items, storage::Storage};

use crate::store::{LockedStore, ready};

/// An item of a table.
type Item = HashMap<String, AttributeValue>;

/// Commits changes to an engine as groups, for as long as the engine is open.
#[derive(Clone, Debug)]
pub struct LocalCommit(pub(crate) Weak<LockedStore>);

impl LocalCommit {
    /// Reads the items with these values of `pk` and `sk`, which must all differ, and writes the replacements that `decide`
    /// returns for them. `decide` receives the position of a key and its item; an item for which it returns `None` stays
    /// unchanged.
    ///
    /// No other reader or writer runs meanwhile. All changes are written in one transaction of the file. After an error none
    /// is written; the error is the engine's message.
    pub fn change(
        &self,
        table: &str,
        keys: &[(String, String)],
        mut decide: impl FnMut(usize, Option<Item>) -> Option<Item>,
    ) -> Result<(), String> {
        let open = self.0.upgrade().ok_or("the table is closed")?;
        if keys.iter().collect::<HashSet<_>>().len() < keys.len() {
            return Err("a group commit cannot change one item twice".to_owned());
        }
        let options = ImportOptions { record_streams: true, ..ImportOptions::default() };
        let changed = open.store.with(|opened| {
            opened.in_transaction(|storage| {
                let mut items = Vec::with_capacity(keys.len());
                for (place, (pk, sk)) in keys.iter().enumerate() {
                    if let Some(item) = decide(place, read(storage, table, pk, sk)?) {
                        items.push(theirs(item)?);
                    }
                }
                // An import compiles its statements once for all items.
                ready(import_items::execute(storage, table, items, &options)).map(drop)
            })
        });
        changed.map_err(|error| error.to_string())
    }
}

fn read(storage: &Storage, table: &str, pk: &str, sk: &str) -> dynoxide::Result<Option<Item>> {
    let [pk_text, sk_text] =
        [pk, sk].map(|text| dynoxide::AttributeValue::S(text.to_owned()).to_key_string());
    let row = storage.get_item(table, &pk_text.unwrap_or_default(), &sk_text.unwrap_or_default())?;
    let Some(text) = row else { return Ok(None) };
    let item = serde_json::from_str(&text);
    let item = item.map_err(|error| DynoxideError::InternalServerError(format!("{pk} / {sk}: {error}")))?;
    Ok(Some(ours(item)))
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
            let text = format!("unknown kind of attribute: {other:?}");
            return Err(DynoxideError::ValidationException(text));
        }
    })
}
