//! The location of a stack, for a runner or a command: on this machine or in AWS.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use anyhow::Context as _;
use lamplighter_aws::{
    clients::{Account, Clients, local_config},
    environment::{BUCKET, BUCKET_OUTPUT, NotText, TABLE_OUTPUT, open_table, text, variable},
    notify::Notifier,
    stacks::{StackError, Stacks},
    table::Table,
};
use lamplighter_core::{name::TaskName, notification::Target};
use lamplighter_local::Synchronous;
use lamplighter_project::Project;

use super::{stack::Stack, storage::Storage};

/// A stack and its location.
#[derive(Clone, Debug)]
pub struct Location {
    /// The stack's name.
    pub stack: String,
    /// The folder of this machine's stacks.
    pub home: PathBuf,
    /// The account, if the stack is in AWS.
    pub aws: Option<InAws>,
}

/// The account and the region of a stack in AWS.
#[derive(Clone, Debug, Default)]
pub struct InAws {
    /// The profile of AWS's configuration files. Without one, `AWS_PROFILE` decides.
    pub profile: Option<String>,
    /// The region. Without one, `AWS_REGION` or the profile decides.
    pub region: Option<String>,
    /// The table's name. Without one, the stack's outputs name it.
    pub table: Option<String>,
    /// The outputs of the stack, once they have been read.
    pub outputs: KnownOutputs,
}

/// The outputs of one stack. They are read once for all clones.
#[derive(Clone, Debug, Default)]
pub struct KnownOutputs(Arc<OnceLock<BTreeMap<String, String>>>);

/// A table in AWS.
pub struct TableInAws {
    /// The table, with its bucket.
    pub table: Table,
    /// The bucket's name.
    pub bucket: Option<String>,
    /// The clients of its account.
    pub clients: Arc<Clients>,
}

impl Location {
    /// Opens the stack's table for a runner: in a file below the home folder, as [`Storage::open`] does, or in AWS.
    pub async fn storage(
        &self,
        synchronous: Synchronous,
        tasks: impl IntoIterator<Item = &TaskName>,
    ) -> anyhow::Result<Storage> {
        if let Some(aws) = &self.aws {
            let TableInAws { table, bucket, .. } = aws.open(&self.stack).await?;
            let mut variables = aws.variables(std::env::vars_os())?;
            variables.push((BUCKET.to_owned(), bucket.unwrap_or_default()));
            return Ok(Storage::remote(table, variables));
        }
        let stack = Stack::open(&self.home, &self.stack)?.name;
        Storage::open(&self.home, &stack, synchronous, tasks).await
    }

    /// The notifier of a project, if its target is reachable from here. A target that only CloudFormation can resolve
    /// is not reachable. A stack on this machine can only notify webhooks.
    pub async fn notifier(&self, project: &Project) -> anyhow::Result<Option<Notifier>> {
        let reachable = |target: &&Target| {
            !target.is_template() && (self.aws.is_some() || matches!(target, Target::Webhook(_)))
        };
        let Some(target) = project.notify.as_ref().filter(reachable) else { return Ok(None) };
        let notifier = match &self.aws {
            Some(aws) => Notifier::new(target.clone(), aws.clients().config().await),
            // A webhook needs no AWS configuration.
            None => Notifier::new(target.clone(), &local_config("http://127.0.0.1")),
        };
        Ok(Some(notifier?))
    }
}

impl InAws {
    /// The clients of the account and the region.
    pub fn clients(&self) -> Clients {
        Clients::of(Account { profile: self.profile.clone(), region: self.region.clone() })
    }

    /// Returns the outputs of the stack, by key. Each call must name the same stack.
    pub async fn outputs(
        &self,
        clients: &Clients,
        stack: &str,
    ) -> Result<&BTreeMap<String, String>, StackError> {
        if let Some(known) = self.outputs.0.get() {
            return Ok(known);
        }
        let read = Stacks::new(clients.config().await).outputs(stack).await?;
        Ok(self.outputs.0.get_or_init(|| read))
    }

    /// Opens the table of a stack.
    pub async fn open(&self, stack: &str) -> anyhow::Result<TableInAws> {
        of_aws(std::env::vars_os())?;
        let clients = self.clients();
        let (name, bucket) = if let Some(name) = &self.table {
            (name.clone(), variable(BUCKET)?)
        } else {
            let outputs = self.outputs(&clients, stack).await?;
            let missing = || {
                format!(
                    "stack `{stack}` has no output {TABLE_OUTPUT}: name a stack that Lamplighter deployed"
                )
            };
            (outputs.get(TABLE_OUTPUT).with_context(missing)?.clone(), outputs.get(BUCKET_OUTPUT).cloned())
        };
        let table = open_table(&clients, &name, bucket.as_deref()).await;
        Ok(TableInAws { table, bucket, clients: Arc::new(clients) })
    }

    /// The variables with which other processes reach the same account: those of this process, overridden by the given profile and
    /// region.
    fn variables(
        &self,
        own: impl Iterator<Item = (OsString, OsString)>,
    ) -> Result<Vec<(String, String)>, NotText> {
        // An empty value removes a variable that the Lambda host sets.
        let removed = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_DEFAULT_REGION"];
        let mut variables: BTreeMap<_, _> = removed.map(|name| (name.to_owned(), String::new())).into();
        variables.extend(of_aws(own)?);
        for (name, value) in [("AWS_PROFILE", &self.profile), ("AWS_REGION", &self.region)] {
            variables.extend(value.clone().map(|value| (name.to_owned(), value)));
        }
        Ok(variables.into_iter().collect())
    }
}

/// The variables with which this process reaches AWS. One that is not UTF-8 is an error, since the SDK would ignore it and could
/// reach another account.
fn of_aws(own: impl Iterator<Item = (OsString, OsString)>) -> Result<Vec<(String, String)>, NotText> {
    let named = own.filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    let read = named.filter(|(name, _)| name.starts_with("AWS_") && !name.starts_with("AWS_LAMBDA_"));
    read.filter_map(|(name, value)| Some(text(&name, Some(value)).transpose()?.map(|value| (name, value))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_reaches_the_same_account_as_this_one() {
        let aws = InAws { profile: Some("shop".to_owned()), ..InAws::default() };
        let own =
            [("AWS_SESSION_TOKEN", "t"), ("AWS_LAMBDA_X", "no"), ("PATH", "no"), ("AWS_PROFILE", "old")];
        let own = own.map(|(name, value)| (name.into(), value.into()));
        let variables: BTreeMap<_, _> = aws.variables(own.into_iter()).unwrap().into_iter().collect();
        assert_eq!(
            (variables["AWS_PROFILE"].as_str(), variables["AWS_SESSION_TOKEN"].as_str()),
            ("shop", "t")
        );
        assert_eq!(variables["AWS_ACCESS_KEY_ID"], "", "the host's own would override the profile");
        assert!(!variables.contains_key("AWS_LAMBDA_X") && !variables.contains_key("PATH"));
    }
}
