//! Imports of users: jobs of the task `import-users`.

use std::time::Duration;

use lamplighter::{Arguments, Job, JobError, JobKey, Jobs, Status};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::response::Response;

/// The arguments of `import-users`, as its function takes them.
#[derive(Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImportUsers {
    users: Vec<NewUser>,
}

/// A user to import.
#[derive(Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewUser {
    email: String,
    name: String,
}

/// The result of `import-users`.
#[derive(Deserialize, Serialize)]
pub(crate) struct Imported {
    added: u64,
    known: u64,
}

impl Arguments for ImportUsers {
    const TASK: &'static str = "import-users";
    type Result = Imported;
}

/// Enqueues an import, and returns where its result will be.
pub(crate) async fn enqueue(import: &ImportUsers, jobs: &Jobs) -> Response {
    match import.enqueue(jobs).await {
        Ok(job) => {
            let id = job.id().run_id.to_string();
            let place = format!("/imports/{id}");
            Response::of(202, json!({ "id": id })).with("location", place)
        }
        Err(error) => unavailable(&error),
    }
}

/// Returns the status of an import, and its result or error once it is over.
pub(crate) async fn look(key: JobKey, jobs: &Jobs) -> Response {
    let job = Job::<Imported>::of(jobs.clone(), key);
    let status = match job.status().await {
        Ok(status @ (Status::Pending | Status::Running)) => {
            return Response::of(200, json!({ "status": status, "result": null }));
        }
        Ok(status) => status,
        Err(JobError::Unknown(key)) => {
            return Response::error(404, format!("there is no import {}", key.run_id));
        }
        Err(error) => return unavailable(&error),
    };
    match job.result(Duration::ZERO).await {
        Ok(result) => Response::of(200, json!({ "status": status, "result": result })),
        Err(JobError::NotCompleted { run, .. }) => {
            Response::of(200, json!({ "status": status, "result": null, "error": run.reason() }))
        }
        Err(error) => unavailable(&error),
    }
}

/// Logs an error, and says no more than that there was one.
fn unavailable(error: &dyn std::error::Error) -> Response {
    eprintln!("{error}");
    Response::error(503, "imports are not available now; try again later")
}

#[cfg(test)]
mod tests {
    use lamplighter::Task as _;
    use schemars::schema_for;
    use serde_json::Value;

    use super::*;

    /// A schema without its texts for people.
    fn shape(schema: &Value) -> Value {
        match schema {
            Value::Object(keys) => {
                let kept = keys.iter().filter(|(key, _)| !["title", "description"].contains(&key.as_str()));
                kept.map(|(key, value)| (key.clone(), shape(value))).collect::<serde_json::Map<_, _>>().into()
            }
            Value::Array(list) => list.iter().map(shape).collect(),
            other => other.clone(),
        }
    }

    #[test]
    fn q16_the_arguments_and_the_result_are_those_of_the_task() {
        let definition = import_users::ImportUsers::definition();
        let own = schema_for!(ImportUsers).to_value();
        assert_eq!(definition.name.as_str(), ImportUsers::TASK);
        assert_eq!(shape(&own), shape(&definition.queue().unwrap().arguments_schema));
        let result = serde_json::to_value(import_users::Imported { added: 1, known: 2 }).unwrap();
        let read: Imported = serde_json::from_value(result.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), result);
    }
}
