//! The properties of functions and roles that lamplighter.toml sets by their names in a template.
//!
//! A property of a task takes precedence over one of all tasks, and one of an environment over the project's. Tables are
//! merged key by key. Any other value, and a call of an intrinsic function, replaces the one before it.

use lamplighter_core::{
    definition::{Definition, Kind},
    name::TaskName,
    suggest::nearest,
};
use serde_json::{Map, Value};

use crate::{
    config::{self, Config},
    fault::Faults,
};

/// The properties of a function and of its role, by their names in a template.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Properties {
    /// The properties of the function.
    pub function: Map<String, Value>,
    /// The properties of the role.
    pub role: Map<String, Value>,
}

/// A resource whose properties can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resource {
    Function,
    Role,
}

/// The rule for one property.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rule {
    /// Set on the resources of all tasks and of the framework.
    Everywhere(Shape),
    /// Set on the resources of all tasks.
    Tasks(Shape),
    /// Set on the resources of one task.
    OneTask(Shape),
    /// Refused for this reason.
    Refused(&'static str),
}

/// The shape of a property's value. A call of an intrinsic function fits every shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Text,
    Number,
    Flag,
    List,
    Table,
    /// A table, or CloudFormation's list of `Key` and `Value`.
    Tags,
}

use Rule::{Everywhere, OneTask, Refused, Tasks};
use Shape::{Flag, List, Number, Table, Tags, Text};

const PACKAGE: &str = "is that of the package which `lamplighter build` writes";
const VERSIONS: &str =
    "has no effect on a task: published versions and aliases of its function are never invoked";
const RETRIES: &str = "is part of the task: set `attempts` for retries, and `[notify]` for failures";
const ONLY_OWN_ROLE: &str = "has no effect, since each function has a role of its own";

/// The properties of a function. Source: AWS SAM Developer Guide, `AWS::Serverless::Function`; the names are those of
/// `aws-sam-translator` 1.115.
const FUNCTION: [(&str, Rule); 48] = [
    ("Architectures", Refused("is the same for all functions: set `architecture` in `[build]`")),
    ("AssumeRolePolicyDocument", Refused(ONLY_OWN_ROLE)),
    ("AutoPublishAlias", Refused(VERSIONS)),
    ("AutoPublishAliasAllProperties", Refused(VERSIONS)),
    ("AutoPublishCodeSha256", Refused(VERSIONS)),
    ("CapacityProviderConfig", Refused(VERSIONS)),
    ("CodeSigningConfigArn", Everywhere(Text)),
    ("CodeUri", Refused(PACKAGE)),
    ("DeadLetterQueue", Refused(RETRIES)),
    ("DeploymentPreference", Refused(VERSIONS)),
    ("Description", OneTask(Text)),
    ("DurableConfig", Refused("is not for tasks: a run is one invocation")),
    (
        "Environment",
        Refused("is merged with Lamplighter's own: set variables in `[tasks.<name>.environment]`"),
    ),
    ("EphemeralStorage", Tasks(Table)),
    ("EventInvokeConfig", Refused(RETRIES)),
    ("Events", Refused("is not for tasks: a schedule, a queue or a deployment starts them. Set `schedule`")),
    ("FileSystemConfigs", Tasks(List)),
    ("FunctionName", Refused("is `<stack>-<task>`: the dispatcher, roles and schedules use this name")),
    ("FunctionScalingConfig", Refused(VERSIONS)),
    (
        "FunctionUrlConfig",
        Refused("is not for tasks: use a function of the application, which enqueues jobs"),
    ),
    ("Handler", Refused(PACKAGE)),
    ("ImageConfig", Refused(PACKAGE)),
    ("ImageUri", Refused(PACKAGE)),
    ("InlineCode", Refused(PACKAGE)),
    ("KmsKeyArn", Everywhere(Text)),
    ("Layers", Tasks(List)),
    ("LoggingConfig", Refused("names the function's log group: set `log_retention_days` in `[build]`")),
    ("MemorySize", Refused("has a key of its own: set `memory_mb` in `[tasks.<name>]`")),
    ("PackageType", Refused(PACKAGE)),
    ("PermissionsBoundary", Refused("is of the role: set it in `[role]` or `[tasks.<name>.role]`")),
    ("Policies", Refused("are of the role: add statements as `[[tasks.<name>.permissions]]`")),
    ("PropagateTags", Everywhere(Flag)),
    ("ProvisionedConcurrencyConfig", Refused(VERSIONS)),
    ("PublishToLatestPublished", Refused(VERSIONS)),
    ("RecursiveLoop", Refused("is set for queue tasks, the only ones that need it")),
    ("ReservedConcurrentExecutions", OneTask(Number)),
    (
        "Role",
        Refused(
            "is one of its own for each function: set its properties in `[role]` or `[tasks.<name>.role]`",
        ),
    ),
    ("RolePath", Refused("is of the role: set `Path` in `[role]` or `[tasks.<name>.role]`")),
    ("Runtime", Refused(PACKAGE)),
    ("RuntimeManagementConfig", Everywhere(Table)),
    ("SnapStart", Refused(VERSIONS)),
    ("SourceKMSKeyArn", Everywhere(Text)),
    ("Tags", Everywhere(Table)),
    ("TenancyConfig", Refused("is not for tasks: their invocations name no tenant")),
    ("Timeout", Refused("follows from the task's: set `timeout` in `[tasks.<name>]`")),
    ("Tracing", Everywhere(Text)),
    ("VersionDescription", Refused(VERSIONS)),
    ("VpcConfig", Tasks(Table)),
];

/// The properties of a role. Source: AWS CloudFormation Template Reference, `AWS::IAM::Role`.
const ROLE: [(&str, Rule); 9] = [
    (
        "AssumeRolePolicyDocument",
        Refused("is Lamplighter's: only the service that runs the function may assume its role"),
    ),
    ("Description", OneTask(Text)),
    ("ManagedPolicyArns", Tasks(List)),
    ("MaxSessionDuration", Tasks(Number)),
    ("Path", Everywhere(Text)),
    ("PermissionsBoundary", Everywhere(Text)),
    ("Policies", Refused("are Lamplighter's: add statements as `[[tasks.<name>.permissions]]`")),
    ("RoleName", OneTask(Text)),
    ("Tags", Everywhere(Tags)),
];

impl Properties {
    /// Reads the properties of all tasks in one environment.
    pub(super) fn of_all(config: &Config, environment: &str, faults: &mut Faults) -> Self {
        let mut properties = Self::default();
        properties.add("", &config.function, &config.role, None, faults);
        if let Some(config) = config.environments.get(environment) {
            let prefix = format!("environments.{environment}.");
            properties.add(&prefix, &config.function, &config.role, None, faults);
        }
        properties
    }

    /// Adds those of one task. `layers` are its tables, weakest first, each with its key in the file.
    pub(super) fn with_task(
        mut self,
        task: &Definition,
        layers: &[(String, &config::TaskConfig)],
        faults: &mut Faults,
    ) -> Self {
        for (key, layer) in layers {
            self.add(&format!("{key}."), &layer.function, &layer.role, Some(task), faults);
        }
        self.without_absent()
    }

    /// Keeps only the properties that also apply to the framework's own functions and to the roles of schedules.
    ///
    /// The framework's functions stay outside of any VPC: they must reach CloudFormation's answer URL and the APIs of AWS.
    pub(super) fn of_framework(self) -> Self {
        let mut properties = self.without_absent();
        let is_everywhere = |rules: &[(&str, Rule)], name: &str| {
            rules.iter().any(|(known, rule)| *known == name && matches!(rule, Everywhere(_)))
        };
        properties.function.retain(|name, _| is_everywhere(&FUNCTION, name));
        properties.role.retain(|name, _| is_everywhere(&ROLE, name));
        properties
    }

    /// Leaves out those that an override removed with `{ Ref = "AWS::NoValue" }`.
    fn without_absent(mut self) -> Self {
        let is_absent = |value: &Value| value["Ref"] == "AWS::NoValue";
        self.function.retain(|_, value| !is_absent(value));
        self.role.retain(|_, value| !is_absent(value));
        self
    }

    fn add(
        &mut self,
        prefix: &str,
        function: &toml::Table,
        role: &toml::Table,
        task: Option<&Definition>,
        faults: &mut Faults,
    ) {
        for (resource, table, into) in
            [(Resource::Function, function, &mut self.function), (Resource::Role, role, &mut self.role)]
        {
            let prefix = format!("{prefix}{}", resource.key());
            for name in table.keys() {
                if let Err(reason) = check(resource, name, &table[name], task) {
                    faults.add(config::FILE, format!("{prefix}.{name}"), reason);
                }
            }
            match super::json(table) {
                Ok(Value::Object(entries)) => merge(into, entries),
                Ok(_) => {}
                Err((path, number)) => {
                    let reason = format!("is {number}, which a template cannot represent");
                    faults.add(config::FILE, format!("{prefix}.{path}"), reason);
                }
            }
        }
    }
}

impl Resource {
    /// The key of its table in lamplighter.toml.
    fn key(self) -> &'static str {
        match self {
            Self::Function => "function",
            Self::Role => "role",
        }
    }

    fn rules(self) -> &'static [(&'static str, Rule)] {
        match self {
            Self::Function => &FUNCTION,
            Self::Role => &ROLE,
        }
    }
}

/// Checks one property of a table. `task` is the table's task; none for a table of all tasks.
fn check(
    resource: Resource,
    name: &str,
    value: &toml::Value,
    task: Option<&Definition>,
) -> Result<(), String> {
    let rules = resource.rules();
    let Some((_, rule)) = rules.iter().find(|(known, _)| *known == name) else {
        return Err(unknown(resource, name));
    };
    let shape = match rule {
        Refused(reason) => return Err((*reason).to_owned()),
        OneTask(_) if task.is_none() => {
            return Err(format!(
                "would be the same for all tasks: set it in `[tasks.<name>.{}]`",
                resource.key()
            ));
        }
        Everywhere(shape) | Tasks(shape) | OneTask(shape) => shape,
    };
    if let Some(task) = task {
        of_task(&task.name, &task.kind, name)?;
    }
    if !shape.fits(value) {
        return Err(format!("expected {}", shape.described()));
    }
    match value.as_str() {
        Some(arn) if name == "KmsKeyArn" => key_arn(arn),
        _ => Ok(()),
    }
}

/// Checks the ARN of the key that the role may use. IAM allows a key by its own ARN, and by no alias.
fn key_arn(arn: &str) -> Result<(), String> {
    let is_filled_in = arn.contains("${") || arn.contains("{{");
    if is_filled_in || arn.starts_with("arn:") && !arn.contains(":alias/") {
        return Ok(());
    }
    Err("expected the ARN of a key, such as `arn:aws:kms:eu-west-1:123456789012:key/..`, and no alias"
        .to_owned())
}

/// Checks that a property is one for the kind of task.
fn of_task(task: &TaskName, kind: &Kind, name: &str) -> Result<(), String> {
    match kind {
        Kind::Side(_) => Err(format!("`{task}` is a side task, which has neither function nor role in AWS")),
        Kind::Queue(_) if name == "ReservedConcurrentExecutions" => {
            Err("is not for queue tasks: set `concurrency` in `#[task(queue, ..)]`".to_owned())
        }
        _ => Ok(()),
    }
}

fn unknown(resource: Resource, name: &str) -> String {
    let known = resource.rules().iter().map(|(name, _)| *name);
    if let Some(meant) = nearest(name, known) {
        return format!("is not a property of a {}: did you mean `{meant}`?", resource.key());
    }
    let settable = resource.rules().iter().filter(|(_, rule)| !matches!(rule, Refused(_)));
    let settable: Vec<_> = settable.map(|(name, _)| *name).collect();
    format!("is not a property of a {}: expected one of {}", resource.key(), settable.join(", "))
}

impl Shape {
    fn fits(self, value: &toml::Value) -> bool {
        match (self, value) {
            (Text, toml::Value::String(_))
            | (Number, toml::Value::Integer(_))
            | (Flag, toml::Value::Boolean(_))
            | (List | Tags, toml::Value::Array(_))
            | (Table | Tags, toml::Value::Table(_)) => true,
            (_, toml::Value::Table(table)) => is_call(table.len(), table.keys()),
            _ => false,
        }
    }

    fn described(self) -> &'static str {
        match self {
            Text => "a text, such as `\"a\"`, or a function such as `{ Ref = \"A\" }`",
            Number => "a whole number, or a function such as `{ Ref = \"A\" }`",
            Flag => "`true` or `false`",
            List => "a list, such as `[\"a\"]`, or a function such as `{ Ref = \"A\" }`",
            Table => "a table, such as `{ A = \"a\" }`",
            Tags => "a table, such as `{ Team = \"a\" }`",
        }
    }
}

/// Merges a table into another one.
fn merge(into: &mut Map<String, Value>, from: Map<String, Value>) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Object(old)), Value::Object(new))
                if !is_call(old.len(), old.keys()) && !is_call(new.len(), new.keys()) =>
            {
                merge(old, new);
            }
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

/// Returns true if a table with these keys is a call of an intrinsic function, such as `{ Ref = "A" }`.
fn is_call<'a>(count: usize, mut keys: impl Iterator<Item = &'a String>) -> bool {
    count == 1 && keys.all(|key| is_intrinsic(key))
}

/// Returns true if the key names an intrinsic function. Source: AWS CloudFormation Template Reference, "Intrinsic functions".
pub fn is_intrinsic(key: &str) -> bool {
    matches!(key, "Ref" | "Condition") || key.starts_with("Fn::")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::{Project, fixtures};

    fn resolve(config: &str, environment: &str) -> Result<Project, Vec<String>> {
        let project =
            Project::resolve("shop", fixtures::tasks(), &Config::parse(config).unwrap(), Some(environment));
        project.map_err(|faults| faults.iter().map(ToString::to_string).collect())
    }

    fn task<'a>(project: &'a Project, name: &str) -> &'a Properties {
        &project.tasks.iter().find(|task| task.name().as_str() == name).unwrap().properties
    }

    #[test]
    fn g07_a_task_overrides_all_tasks_and_an_environment_the_project() {
        let config = r#"
            [function]
            Layers = ["a", "b"]
            VpcConfig = { SubnetIds = ["s-1", "s-2"], SecurityGroupIds = ["g-1"] }
            Tags = { Team = "shop", Cost = "1" }
            [role]
            Path = "/shop/"
            Tags.Team = "shop"
            [tasks.seed-data.function]
            Layers = ["c"]
            Tags.Cost = "2"
            VpcConfig.SecurityGroupIds = { "Fn::Split" = [",", { Ref = "Groups" }] }
            [tasks.warm-cache.function]
            VpcConfig = { Ref = "AWS::NoValue" }
            [tasks.warm-cache.role]
            Path = { Ref = "Path" }
            [environments.p.function]
            Tags = { Team = "ops", Cost = "3" }
            [environments.p.tasks.seed-data.role]
            RoleName = "seed"
        "#;
        let project = resolve(config, "dev").unwrap();
        let seed = task(&project, "seed-data");
        assert_eq!(
            Value::Object(seed.function.clone()),
            json!({
                "Layers": ["c"],
                "Tags": { "Team": "shop", "Cost": "2" },
                "VpcConfig": {
                    "SubnetIds": ["s-1", "s-2"],
                    "SecurityGroupIds": { "Fn::Split": [",", { "Ref": "Groups" }] },
                },
            })
        );
        assert_eq!(Value::Object(seed.role.clone()), json!({ "Path": "/shop/", "Tags": { "Team": "shop" } }));
        let warm = task(&project, "warm-cache");
        assert!(!warm.function.contains_key("VpcConfig"), "{warm:?}");
        assert_eq!(warm.role["Path"], json!({ "Ref": "Path" }));
        let other = &task(&project, "run-migrations").function;
        assert_eq!(other["VpcConfig"]["SecurityGroupIds"], json!(["g-1"]));

        let project = resolve(config, "p").unwrap();
        let seed = task(&project, "seed-data");
        assert_eq!(seed.function["Tags"], json!({ "Team": "ops", "Cost": "2" }), "the task takes precedence");
        assert_eq!(seed.role["RoleName"], "seed");
        assert_eq!(task(&project, "warm-cache").function["Tags"]["Cost"], "3");
    }

    #[test]
    fn g07_the_frameworks_functions_have_the_properties_that_need_no_network() {
        let config = r#"
            [function]
            Layers = ["a"]
            VpcConfig = { SubnetIds = ["s"], SecurityGroupIds = ["g"] }
            Tracing = "Active"
            Tags = { Team = "shop" }
            [role]
            PermissionsBoundary = "arn:aws:iam::1:policy/b"
            ManagedPolicyArns = ["arn:aws:iam::1:policy/m"]
        "#;
        let framework = resolve(config, "dev").unwrap().framework;
        assert_eq!(framework.function.keys().collect::<Vec<_>>(), ["Tags", "Tracing"]);
        assert_eq!(framework.role.keys().collect::<Vec<_>>(), ["PermissionsBoundary"]);
    }

    #[test]
    fn g07_a_property_that_cannot_be_set_is_refused_with_key_and_reason() {
        for (config, expected) in [
            (
                "[function]\nVpcConfg = {}",
                "function.VpcConfg: is not a property of a function: did you mean `VpcConfig`?",
            ),
            (
                "[function]\nlayers = []",
                "function.layers: is not a property of a function: did you mean `Layers`?",
            ),
            (
                "[role]\nQ = 1",
                "role.Q: is not a property of a role: expected one of Description, ManagedPolicyArns, ",
            ),
            (
                "[function]\nTimeout = 3",
                "function.Timeout: follows from the task's: set `timeout` in `[tasks.<name>]`",
            ),
            (
                "[tasks.seed-data.function]\nMemorySize = 3",
                "tasks.seed-data.function.MemorySize: has a key of its own: set `memory_mb`",
            ),
            (
                "[environments.dev.role]\nPolicies = []",
                "environments.dev.role.Policies: are Lamplighter's: add statements",
            ),
            (
                "[environments.dev.tasks.seed-data.function]\nEvents = {}",
                "environments.dev.tasks.seed-data.function.Events: is not for tasks",
            ),
            (
                "[role]\nRoleName = \"a\"",
                "role.RoleName: would be the same for all tasks: set it in `[tasks.<name>.role]`",
            ),
            (
                "[function]\nReservedConcurrentExecutions = 2",
                "function.ReservedConcurrentExecutions: would be the same",
            ),
            (
                "[tasks.send-receipt.function]\nReservedConcurrentExecutions = 2",
                "tasks.send-receipt.function.ReservedConcurrentExecutions: is not for queue tasks",
            ),
            ("[tasks.stream.role]\nPath = \"/\"", "tasks.stream.role.Path: `stream` is a side task"),
            ("[function]\nVpcConfig = \"vpc-1\"", "function.VpcConfig: expected a table"),
            ("[function]\nLayers = \"a\"", "function.Layers: expected a list"),
            ("[function]\nLayers = { A = \"b\" }", "function.Layers: expected a list"),
            ("[function]\nKmsKeyArn = \"alias/shop\"", "function.KmsKeyArn: expected the ARN of a key"),
            ("[role]\nPath = 1", "role.Path: expected a text"),
            ("[role]\nTags = 1", "role.Tags: expected a table"),
            ("[function]\nPropagateTags = 1", "function.PropagateTags: expected `true` or `false`"),
            ("[function]\nTags = { A = nan }", "function.Tags.A: is nan, which a template cannot represent"),
        ] {
            let faults = resolve(config, "dev").unwrap_err();
            assert!(faults[0].starts_with(&format!("lamplighter.toml: {expected}")), "{config}\n{faults:?}");
            assert_eq!(faults.len(), 1, "{faults:?}");
        }
    }

    #[test]
    fn g07_every_property_that_lamplighter_sets_is_refused() {
        let set = [
            "FunctionName",
            "CodeUri",
            "Handler",
            "Runtime",
            "Architectures",
            "MemorySize",
            "Timeout",
            "Role",
            "LoggingConfig",
            "Environment",
            "EventInvokeConfig",
            "RecursiveLoop",
        ];
        for name in set {
            assert!(
                matches!(FUNCTION.iter().find(|(known, _)| *known == name), Some((_, Refused(_)))),
                "{name}"
            );
        }
        for rules in [&FUNCTION[..], &ROLE] {
            assert!(rules.is_sorted_by_key(|(name, _)| *name), "the names are sorted");
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![any::<i64>().prop_map(Value::from), "[a-z$]{0,3}".prop_map(Value::from)];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("(a|b|c|Ref|Fn::If)", inner, 0..4)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    fn tables() -> impl Strategy<Value = Map<String, Value>> {
        prop::collection::btree_map("(a|b|c)", values(), 0..4)
            .prop_map(|entries| entries.into_iter().collect())
    }

    proptest! {
        #[test]
        fn g07_merging_keeps_every_key_and_the_later_value(base in tables(), over in tables()) {
            let mut merged = base.clone();
            merge(&mut merged, over.clone());
            for key in base.keys().chain(over.keys()) {
                match (base.get(key), over.get(key)) {
                    (Some(value), None) => prop_assert_eq!(&merged[key], value),
                    (_, Some(value)) if !value.is_object() => prop_assert_eq!(&merged[key], value),
                    _ => prop_assert!(merged.contains_key(key)),
                }
            }
            let mut again = merged.clone();
            merge(&mut again, over);
            prop_assert_eq!(again, merged, "the same table a second time changes nothing");
        }

        #[test]
        fn g07_no_table_panics(name in "(\\PC{0,12}|VpcConfig|Tags|Layers|RoleName)", value in values(), of_role: bool) {
            let key = if of_role { "role" } else { "function" };
            let mut table = toml::Table::new();
            table.insert(name, toml::Value::try_from(value).unwrap());
            let mut config = Config::default();
            if of_role { config.role = table } else { config.function = table }
            let resolved = Project::resolve("shop", fixtures::tasks(), &config, None);
            if let Err(faults) = resolved {
                prop_assert!(faults.iter().all(|fault| fault.key.starts_with(key)));
            }
        }
    }
}
