//! Random values of a schema, and values that are nearly valid.

use serde_json::{Map, Value, json};

/// The text in each marked place begins with it.
pub(crate) const MARKED: &str = "s3cr3t-";

/// Values at the ends of ranges.
fn leaves() -> Vec<Value> {
    vec![
        json!(null),
        json!(true),
        json!(0),
        json!(1),
        json!(-1),
        json!(i8::MIN),
        json!(128),
        json!(-129),
        json!(255),
        json!(256),
        json!(i16::MIN),
        json!(65_536),
        json!(i32::MIN),
        json!(2_147_483_648_u32),
        json!(u32::MAX),
        json!(4_294_967_296_u64),
        json!(i64::MIN),
        json!(i64::MAX),
        json!(9_223_372_036_854_775_808_u64),
        json!(u64::MAX),
        json!(18_446_744_073_709_551_616.0),
        json!(1.0),
        json!(-0.0),
        json!(0.1),
        json!(117.633_311_394_000_17),
        json!("127.0.0.1"),
        json!("::1"),
    ]
}

const TEXTS: [&str; 7] = ["", "a", "ż", "ab", "on", "7", "zzz"];

/// A source of choices, the same for the same seed.
pub(crate) struct Sample<'a> {
    root: &'a Value,
    state: u64,
    /// One of this many values is invalid; none if it is 0.
    wrong: u64,
    marks: u64,
}

impl<'a> Sample<'a> {
    pub(crate) fn new(root: &'a Value, seed: u64, wrong: u64) -> Self {
        Self { root, state: seed, wrong, marks: 0 }
    }

    pub(crate) fn value(&mut self) -> Value {
        self.of(self.root, 5)
    }

    /// The next number, by `SplitMix64`.
    fn next(&mut self, below: usize) -> usize {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let bounded = (mixed ^ (mixed >> 31)) % u64::try_from(below.max(1)).unwrap();
        usize::try_from(bounded).unwrap()
    }

    fn is_wrong(&mut self) -> bool {
        self.wrong > 0 && self.next(usize::try_from(self.wrong).unwrap()) == 0
    }

    fn of(&mut self, schema: &Value, depth: usize) -> Value {
        if let Some(word) = schema.get("const").or_else(|| {
            let words = schema.get("enum")?.as_array()?;
            Some(&words[self.next(words.len())])
        }) {
            // A wrong name of a variant is a text: some of serde's readers take a number as the variant's index.
            let texts = TEXTS[self.next(TEXTS.len())];
            return if self.is_wrong() { json!(texts) } else { word.clone() };
        }
        if self.is_wrong() {
            let leaves = leaves();
            return leaves[self.next(leaves.len())].clone();
        }
        if schema["writeOnly"] == true {
            self.marks += 1;
            let number = self.next(1 << 30);
            return json!(format!("{MARKED}{}-{number}", self.marks));
        }
        let mut entries = Map::new();
        if let Some(target) = schema["$ref"].as_str() {
            let target = self.root.pointer(target.strip_prefix('#').unwrap()).unwrap();
            let value = self.of(target, depth.saturating_sub(1));
            let Value::Object(of_target) = value else { return value };
            entries.extend(of_target);
        }
        for word in ["anyOf", "oneOf"] {
            if let Some(branches) = schema[word].as_array() {
                // In depth, an alternative that ends a recursion is chosen, if there is one.
                let ends = branches.iter().position(|branch| !branch.to_string().contains("$ref"));
                let at = self.next(branches.len());
                let at = if depth == 0 { ends.unwrap_or(at) } else { at };
                let value = self.of(&branches[at], depth.saturating_sub(1));
                let Value::Object(of_branch) = value else { return value };
                entries.extend(of_branch);
            }
        }
        for part in schema["allOf"].as_array().into_iter().flatten() {
            if let Value::Object(of_part) = self.of(part, depth) {
                entries.extend(of_part);
            }
        }
        let types: Vec<_> = match &schema["type"] {
            Value::Array(types) => types.iter().collect(),
            one => vec![one],
        };
        match types[self.next(types.len())].as_str() {
            None | Some("object") => {}
            Some("null") => return Value::Null,
            Some("boolean") => return json!(self.next(2) == 0),
            Some("string") => {
                let text = match schema["format"].as_str() {
                    Some("ipv4") => "10.0.0.1",
                    Some(_) => "::1",
                    None => TEXTS[self.next(TEXTS.len())],
                };
                return json!(text);
            }
            Some("array") => return self.list(schema, depth),
            Some(_) => {
                if self.next(2) == 0 {
                    return json!(1);
                }
                let numbers: Vec<_> = leaves().into_iter().filter(Value::is_number).collect();
                return numbers[self.next(numbers.len())].clone();
            }
        }
        self.object(schema, depth, &mut entries);
        Value::Object(entries)
    }

    fn list(&mut self, schema: &Value, depth: usize) -> Value {
        let least = schema["minItems"].as_u64().unwrap_or(0);
        let most = schema["maxItems"].as_u64().unwrap_or(if depth == 0 { 0 } else { least + 2 });
        let count = if self.is_wrong() {
            self.next(5)
        } else {
            usize::try_from(least).unwrap() + self.next(usize::try_from(most - least).unwrap() + 1)
        };
        let of = |i: usize| schema["prefixItems"].get(i).unwrap_or(&schema["items"]).clone();
        (0..count).map(|i| self.of(&of(i), depth.saturating_sub(1))).collect()
    }

    fn object(&mut self, schema: &Value, depth: usize, entries: &mut Map<String, Value>) {
        let required: Vec<_> = schema["required"].as_array().into_iter().flatten().collect();
        for (key, of) in schema["properties"].as_object().into_iter().flatten() {
            let is_required = required.iter().any(|name| *name == key);
            let is_there = if is_required { !self.is_wrong() } else { depth > 0 && self.next(3) > 0 };
            if is_there {
                entries.insert(key.clone(), self.of(of, depth.saturating_sub(1)));
            }
        }
        if schema["additionalProperties"].is_object() {
            for _ in 0..self.next(3) {
                let key = format!("k{}", self.next(9));
                entries.insert(key, self.of(&schema["additionalProperties"], depth.saturating_sub(1)));
            }
        }
        for (pattern, of) in schema["patternProperties"].as_object().into_iter().flatten() {
            let keys =
                ["7", "0", "18446744073709551615", "-7", "007", "+7", "x", "1.0", "18446744073709551616"];
            let good = if pattern.contains('-') { 4 } else { 3 };
            for _ in 0..self.next(3) {
                let key =
                    if self.is_wrong() { keys[self.next(keys.len())] } else { keys[self.next(good) % 2] };
                entries.insert(key.to_owned(), self.of(of, depth.saturating_sub(1)));
            }
        }
        if self.is_wrong() {
            entries.insert("zzz".to_owned(), json!(1));
        }
    }
}
