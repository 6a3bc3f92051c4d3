//! `lamplighter types`: the types of configurations and results.

use lamplighter_core::definition::Definition;
use serde_json::{Value, json};

use crate::{
    arguments::names,
    terminal::{output, show::wrapped},
    tr,
    words::Words,
};

/// Shows the types of the tasks' configurations and results.
///
/// With --json, shows their JSON Schemas.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  lamplighter types run-migrations --json")]
pub(crate) struct Arguments {
    /// Only this task.
    task: Option<String>,
    /// The environment. Overrides `environment` in lamplighter.toml.
    #[arg(long)]
    environment: Option<String>,
    /// Prints JSON: each task's schemas, and its configuration without run-time settings.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(words: &Words, arguments: &Arguments) -> anyhow::Result<()> {
    let catalog = super::catalog(None)?;
    let named = arguments.task.as_deref().map(|task| names::task(words, &catalog, task)).transpose()?;
    let project = super::project(&catalog, arguments.environment.as_deref())?;
    let definitions = super::definitions(project, named.as_ref());
    if arguments.json {
        let types: Vec<_> = definitions
            .iter()
            .map(|definition| {
                json!({
                    "task": definition.name,
                    "config": definition.config,
                    "config_schema": definition.config_schema,
                    "result_schema": definition.result_schema,
                })
            })
            .collect();
        output::plain(serde_json::to_string_pretty(&types)?);
        return Ok(());
    }
    let lines = definitions.iter().flat_map(|definition| lines(words, definition));
    for line in lines.flat_map(|line| wrapped(words, 2, &line)) {
        output::line(line);
    }
    Ok(())
}

fn lines(words: &Words, definition: &Definition) -> Vec<String> {
    let mut lines = vec![definition.name.to_string()];
    let fields = fields(&definition.config_schema, &definition.config);
    if fields.is_empty() {
        lines.push(format!("  {}", tr!(words, "types-no-config")));
    } else {
        lines.push(format!("  {}", tr!(words, "types-config")));
        lines.extend(fields.into_iter().map(|field| format!("    {field}")));
    }
    if definition.result_schema.is_null() {
        lines.push(format!("  {}", tr!(words, "types-any-result")));
    } else {
        let result = kind(&definition.result_schema, &definition.result_schema, 0);
        lines.push(format!("  {}", tr!(words, "types-result", kind = result)));
    }
    lines
}

/// One line for each field: name, type, value, and the first line of its doc comment.
fn fields(schema: &Value, config: &Value) -> Vec<String> {
    let properties = schema["properties"].as_object().into_iter().flatten();
    let field = |(name, field): (&String, &Value)| {
        let value = match &config[name] {
            Value::Null => String::new(),
            value => format!(" = {value}"),
        };
        let about = field["description"].as_str().and_then(|text| text.lines().next());
        let about = about.map(|text| format!("  # {text}")).unwrap_or_default();
        format!("{name}: {}{value}{about}", kind(schema, field, 0))
    };
    properties.map(field).collect()
}

/// A schema in a few words: `string`, `integer | null`, `[string]`, `{ a: string, b: number }`. Deep levels of a nested or
/// recursive schema are cut.
fn kind(root: &Value, schema: &Value, depth: usize) -> String {
    if depth > 3 {
        return "…".to_owned();
    }
    let below = |schema: &Value| kind(root, schema, depth + 1);
    if let Some(target) = schema["$ref"].as_str().and_then(|path| path.strip_prefix('#')) {
        return root.pointer(target).map_or_else(|| "any".to_owned(), below);
    }
    for one_of in ["anyOf", "oneOf"] {
        if let Some(kinds) = schema[one_of].as_array() {
            return kinds.iter().map(below).collect::<Vec<_>>().join(" | ");
        }
    }
    if let Some(values) = schema["enum"].as_array() {
        return values.iter().map(Value::to_string).collect::<Vec<_>>().join(" | ");
    }
    if !schema["const"].is_null() {
        return schema["const"].to_string();
    }
    match &schema["type"] {
        Value::Array(kinds) => {
            let kinds = kinds.iter().filter_map(Value::as_str);
            kinds.map(|kind| named(kind, schema, &below)).collect::<Vec<_>>().join(" | ")
        }
        Value::String(kind) => named(kind, schema, &below),
        _ => "any".to_owned(),
    }
}

fn named(kind: &str, schema: &Value, below: &dyn Fn(&Value) -> String) -> String {
    match kind {
        "array" => format!("[{}]", below(&schema["items"])),
        "object" => match schema["properties"].as_object() {
            Some(fields) => {
                let fields = fields.iter().map(|(name, field)| format!("{name}: {}", below(field)));
                format!("{{ {} }}", fields.collect::<Vec<_>>().join(", "))
            }
            None if schema["additionalProperties"].is_object() => {
                format!("{{ …: {} }}", below(&schema["additionalProperties"]))
            }
            None => kind.to_owned(),
        },
        _ => kind.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_summarised_in_a_few_words() {
        let schema = json!({
            "properties": {
                "batch": { "type": "integer", "description": "How many at once.\nMore." },
                "name": { "type": ["string", "null"] },
                "paths": { "type": "array", "items": { "type": "string" } },
                "node": { "$ref": "#/$defs/Node" },
                "limits": { "type": "object", "additionalProperties": { "type": "number" } },
                "mode": { "enum": ["fast", "safe"] },
            },
            "$defs": { "Node": { "type": "object", "properties": { "next": { "$ref": "#/$defs/Node" } } } },
        });
        let config = json!({ "batch": 100, "name": null });
        assert_eq!(
            fields(&schema, &config),
            [
                "batch: integer = 100  # How many at once.",
                "limits: { …: number }",
                "mode: \"fast\" | \"safe\"",
                "name: string | null",
                "node: { next: { next: … } }",
                "paths: [string]",
            ]
        );
        assert_eq!(kind(&schema, &json!(true), 0), "any");
    }
}
