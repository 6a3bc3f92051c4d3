//! Masking of secrets wherever schemars can put them.

use lamplighter_core::{
    schema::check,
    secret::{MASK, Secrets},
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    sample::{MARKED, Sample},
    types::{AuthExternal, AuthUntagged, Everywhere, Flattened, FlattenedOption, Holder, secretive},
};

fn shown<T: schemars::JsonSchema>(value: &Value) -> Value {
    Secrets::take(value, &schemars::schema_for!(T).to_value()).1
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn l23_no_text_in_a_marked_location_is_shown(seed: u64, wrong in prop_oneof![Just(0_u64), 3_u64..30]) {
        for (name, schema) in secretive() {
            let value = Sample::new(&schema, seed, wrong).value();
            let (secrets, shown) = Secrets::take(&value, &schema);
            prop_assert!(!shown.to_string().contains(MARKED), "{name} {value}: {shown}");
            let shown = format!("{value} {value:?} {:?}", value.to_string());
            prop_assert!(!secrets.mask(&shown).contains(MARKED), "{name} {value}");
        }
    }

    #[test]
    fn l23_unmarked_values_are_shown(seed: u64) {
        for (name, schema, _) in super::types::all() {
            let value = Sample::new(&schema, seed, 10).value();
            prop_assert_eq!(&Secrets::take(&value, &schema).1, &value, "{}", name);
        }
    }
}

#[test]
fn l23_each_variant_shows_its_unmarked_fields() {
    let basic = |password: &str| json!({ "user": "ada", "password": password });
    for (given, wanted) in [
        (json!({ "token": "t" }), json!({ "token": MASK })),
        (json!({ "basic": basic("p") }), json!({ "basic": basic(MASK) })),
        (json!({ "pair": ["ada", "p"] }), json!({ "pair": ["ada", MASK] })),
        (json!("none"), json!("none")),
    ] {
        assert_eq!(shown::<AuthExternal>(&given), wanted);
    }
    assert_eq!(shown::<AuthUntagged>(&basic("p")), basic(MASK));
    assert_eq!(shown::<AuthUntagged>(&json!(["a", "b"])), json!([MASK, MASK]));
    let flat = |password: &str| json!({ "plain": "shown", "basic": basic(password) });
    assert_eq!(shown::<Flattened>(&flat("p")), flat(MASK));
    assert_eq!(shown::<FlattenedOption>(&json!({ "plain": 1 })), json!({ "plain": 1 }));
}

#[test]
fn l23_a_secret_beside_an_invalid_value_is_masked() {
    for (given, wanted) in [
        // The first value has a key that no variant has. The second value has an entry that its variant does not have.
        (json!({ "tokn": "hunter2" }), json!({ "tokn": MASK })),
        (
            json!({ "basic": { "user": "ada", "password": 4711, "x": 1 } }),
            json!({ "basic": { "user": "ada", "password": MASK, "x": 1 } }),
        ),
        (json!({ "token": { "text": "hunter2" } }), json!({ "token": { "text": MASK } })),
        (json!(["hunter2"]), json!([MASK])),
    ] {
        assert!(check(&given, &schemars::schema_for!(AuthExternal).to_value()).is_err());
        assert_eq!(shown::<AuthExternal>(&given), wanted);
    }
    assert_eq!(shown::<Everywhere>(&json!({ "defualt": "hunter2" })), json!({ "defualt": MASK }));
    // A struct is read from a list by serde, and not by the check.
    assert_eq!(shown::<Holder>(&json!(["a", null, [], "hunter2"])), json!([MASK, null, [], MASK]));
    let other = json!({ "plain": "x", "external": null, "internal": [{ "type": "tokn", "token": "hunter2" }], "key": "k" });
    let masked =
        json!({ "plain": "x", "external": null, "internal": [{ "type": MASK, "token": MASK }], "key": MASK });
    assert_eq!(shown::<Holder>(&other), masked);
}

#[test]
fn l23_a_secret_object_is_masked_as_a_whole() {
    let schema = json!({ "properties": { "all": { "writeOnly": true, "type": "object" } } });
    let (secrets, shown) =
        Secrets::take(&json!({ "all": { "a": [4711, "pw-1", true, null], "b": { "c": 0.5 } } }), &schema);
    assert_eq!(shown, json!({ "all": { "a": [MASK, MASK, MASK, null], "b": { "c": MASK } } }));
    assert_eq!(secrets.mask("4711 pw-1 true"), format!("{MASK} {MASK} true"));
}
