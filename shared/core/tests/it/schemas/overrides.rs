//! Overrides of values whose types have variants.

use lamplighter_core::schema::{check, merged};
use proptest::prelude::*;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    sample::Sample,
    types::{AuthAdjacent, AuthExternal, AuthInternal, AuthUntagged, Flattened, FlattenedInternal, all},
};

/// Checks cases of a default, an override, and the result.
fn held<T: JsonSchema, const N: usize>(cases: [(Value, Value, Value); N]) {
    let schema = schemars::schema_for!(T).to_value();
    for (base, over, wanted) in cases {
        let is_whole = check(&wanted, &schema).is_ok();
        assert_eq!(merged(base.clone(), over.clone(), &schema), wanted, "{base} <- {over}");
        assert!(is_whole, "{wanted}: {:?}", check(&wanted, &schema));
    }
}

fn basic(user: &str, password: &str) -> Value {
    json!({ "user": user, "password": password })
}

#[test]
fn v04_a_value_of_an_enum_replaces_its_variant_whole() {
    held::<AuthExternal, _>([
        (json!({ "basic": basic("a", "p") }), json!({ "token": "t" }), json!({ "token": "t" })),
        (json!({ "token": "t" }), json!({ "basic": basic("a", "p") }), json!({ "basic": basic("a", "p") })),
        (json!({ "basic": basic("a", "p") }), json!("none"), json!("none")),
        (json!("none"), json!({ "token": "t" }), json!({ "token": "t" })),
        // An incomplete override is merged into the same variant.
        (
            json!({ "basic": basic("a", "p") }),
            json!({ "basic": { "user": "b" } }),
            json!({ "basic": basic("b", "p") }),
        ),
    ]);
    let tagged = |tag: &str, mut of: Value| {
        of["type"] = json!(tag);
        of
    };
    let token = || tagged("token", json!({ "token": "t" }));
    held::<AuthInternal, _>([
        (tagged("basic", basic("a", "p")), token(), token()),
        (token(), tagged("basic", basic("a", "p")), tagged("basic", basic("a", "p"))),
        (token(), json!({ "type": "anyone" }), json!({ "type": "anyone" })),
        (tagged("basic", basic("a", "p")), json!({ "password": "q" }), tagged("basic", basic("a", "q"))),
        (
            tagged("basic", basic("a", "p")),
            json!({ "type": "basic", "user": "b" }),
            tagged("basic", basic("b", "p")),
        ),
    ]);
    let with = |tag: &str, of: Value| json!({ "t": tag, "c": of });
    held::<AuthAdjacent, _>([
        (with("basic", basic("a", "p")), with("token", json!("t")), with("token", json!("t"))),
        (with("token", json!("t")), with("basic", basic("a", "p")), with("basic", basic("a", "p"))),
        (with("token", json!("t")), json!({ "t": "anyone" }), json!({ "t": "anyone" })),
        (with("basic", basic("a", "p")), json!({ "c": { "user": "b" } }), with("basic", basic("b", "p"))),
    ]);
    held::<AuthUntagged, _>([
        (basic("a", "p"), json!("t"), json!("t")),
        (basic("a", "p"), json!(["t"]), json!(["t"])),
        (json!("t"), basic("a", "p"), basic("a", "p")),
        (basic("a", "p"), json!({ "user": "b" }), basic("b", "p")),
    ]);
}

#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "it is only read from JSON")]
#[serde(untagged)]
enum Place {
    Url { url: String, port: Option<u16> },
    Socket { socket: String },
}

#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "it is only read from JSON")]
struct Server {
    name: String,
    place: Option<Place>,
    by_name: std::collections::BTreeMap<String, AuthExternal>,
    list: Vec<Place>,
    limits: Option<Limits>,
}

#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "it is only read from JSON")]
struct Limits {
    low: u8,
    high: Option<u8>,
}

#[test]
fn v04_variants_are_replaced_in_options_maps_and_lists_and_structs_key_by_key() {
    let base = || {
        json!({
            "name": "a", "place": { "url": "u", "port": 1 }, "by_name": { "x": { "token": "t" } },
            "list": [{ "socket": "s" }], "limits": { "low": 1, "high": 2 },
        })
    };
    let with = |key: &str, value: Value| {
        let mut with = base();
        with[key] = value;
        (json!({ key: with[key].clone() }), with)
    };
    let (socket, with_socket) = with("place", json!({ "socket": "s" }));
    // The whole variant is replaced, so the old port is gone.
    let (url, with_url) = with("place", json!({ "url": "v" }));
    let (list, with_list) = with("list", json!([{ "url": "u" }]));
    let (none, with_none) = with("limits", json!(null));
    held::<Server, _>([
        (base(), socket, with_socket),
        (base(), url, with_url),
        (base(), list, with_list),
        (base(), none, with_none),
        (base(), json!({ "limits": { "low": 7 } }), with("limits", json!({ "low": 7, "high": 2 })).1),
        (
            base(),
            json!({ "by_name": { "x": "none", "y": { "token": "u" } } }),
            with("by_name", json!({ "x": "none", "y": { "token": "u" } })).1,
        ),
        (base(), Value::Null, base()),
        (base(), json!({}), base()),
    ]);
}

#[test]
fn v04_a_variant_is_replaced_within_the_struct_that_it_is_flattened_into() {
    let with = |key: &str, value: Value| json!({ "plain": "a", key: value });
    held::<Flattened, _>([
        (with("basic", basic("a", "p")), json!({ "token": "t" }), with("token", json!("t"))),
        (with("token", json!("t")), json!({ "plain": "a" }), with("token", json!("t"))),
        (with("basic", basic("a", "p")), json!({ "basic": { "user": "b" } }), with("basic", basic("b", "p"))),
    ]);
    held::<FlattenedInternal, _>([(
        json!({ "plain": 1, "type": "basic", "user": "a", "password": "p" }),
        json!({ "type": "token", "token": "t", "plain": 2 }),
        json!({ "plain": 2, "type": "token", "token": "t" }),
    )]);
}

#[test]
fn v04_incomplete_layers_merge_into_one_variant() {
    let schema = schemars::schema_for!(AuthExternal).to_value();
    let project = json!({ "basic": { "user": "a" } });
    let environment = json!({ "basic": { "password": "p" } });
    let layers = merged(project, environment, &schema);
    assert_eq!(merged(json!({ "token": "t" }), layers, &schema), json!({ "basic": basic("a", "p") }));
}

proptest! {
    #[test]
    fn v04_a_complete_value_over_another_is_that_value_or_fulfils_its_schema(one: u64, other: u64) {
        for (name, schema, read) in all() {
            let [base, over] = [one, other].map(|seed| Sample::new(&schema, seed, 0).value());
            if [&base, &over].iter().any(|value| check(value, &schema).is_err()) || over.is_null() {
                continue;
            }
            let merged = merged(base.clone(), over.clone(), &schema);
            prop_assert_eq!(check(&merged, &schema), Ok(()), "{} {} <- {}: {}", name, base, over, merged);
            prop_assert_eq!(read(&merged), Ok(()), "{}", name);
        }
    }
}
