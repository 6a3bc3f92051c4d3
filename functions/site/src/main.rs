//! The application: a function that responds with its version, and enqueues imports of users.
//!
//! - `GET /` returns the version.
//! - `POST /import` enqueues a job of the task `import-users`.
//! - `GET /imports/<id>` returns the job's status and result.

mod import;
mod response;
mod route;

use lambda_runtime::{Error, LambdaEvent, service_fn};
use lamplighter::Jobs;
use serde_json::{Value, json};

use response::Response;
use route::{Request, Route, route};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let [version, environment] = ["VERSION", "LAMPLIGHTER_ENVIRONMENT"].map(|name| std::env::var(name).ok());
    let version = json!({ "version": version, "environment": environment });
    let jobs = Jobs::from_environment().await?;
    let (version, jobs) = (&version, &jobs);
    let serve = async |event: LambdaEvent<Value>| {
        let response = answer(&Request::of(&event.payload), version, jobs).await;
        Ok::<_, Error>(Value::from(response))
    };
    lambda_runtime::run(service_fn(serve)).await
}

async fn answer(request: &Request, version: &Value, jobs: &Jobs) -> Response {
    match route(request) {
        Route::Version => Response::of(200, version.clone()),
        Route::Import(import) => import::enqueue(&import, jobs).await,
        Route::Imported(job) => import::look(job, jobs).await,
        Route::Refused(response) => response,
    }
}
