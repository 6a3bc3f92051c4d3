//! The attribute macro `#[task]`, which turns a function into a task.
//!
//! The macro only implements the trait `Task`; a hand-written implementation can do the same. The values of the
//! attribute are checked at compile time with the parsers that read them at run time.

mod arguments;
mod attributes;
mod expand;

use proc_macro::TokenStream;

/// Turns an async function into a task.
///
/// `pub async fn run_migrations(ctx: Context<Config>) -> TaskResult` becomes the task `run-migrations` of type
/// `RunMigrations`. The doc comment becomes the task's description.
///
/// | key | value | default |
/// |---|---|---|
/// | `queue` | no value: makes this a queue task, whose function takes the job's arguments after its context | a lifecycle task |
/// | `side` | no value: makes this a side task, which runs as long as its runner | a lifecycle task |
/// | `run_on` | a list of `Deploy`, `Update` | both |
/// | `phase` | `Before` or `After` the application's deployment | `Before` |
/// | `once_per` | `Deployment` or `Content` | `Deployment` |
/// | `depends_on` | a list of task names | none |
/// | `schedule` | a cron expression in quotes, or a function `async fn(Context<Config>) -> Due` that is called each minute; makes this a cron task | a lifecycle task |
/// | `timezone` | an IANA time zone; requires a cron expression as `schedule` | `UTC` |
/// | `priority` | `Critical`, `High`, `Medium`, `Low` or `Background`; for cron and queue tasks | `Medium` |
/// | `overlap` | `Skip`, `Allow`, `Buffer` or `Replace`; for cron tasks | `Skip` |
/// | `catch_up` | `None`, `Last` or e.g. `"all within 1h"`; for cron tasks | `Last` |
/// | `jitter` | e.g. `"5m"`, at most 1 h; requires a cron expression as `schedule` | none |
/// | `run_once` | `true` disables the task after its first run; for cron tasks | `false` |
/// | `concurrency` | the number of jobs that may run at once; for queue tasks | limited by the workers only |
/// | `enqueues` | a list of the queue tasks whose jobs this task enqueues; grants its role access to their queues | none |
/// | `on_error` | a function `async fn(Context<Config>, RunError)`, called once after a failure and before the restart, for at most 3 s; for side tasks | nothing |
/// | `on_shutdown` | a function with the task's context that returns nothing, called once after the body when the task is asked to stop, for at most 3 s; for side tasks | nothing |
/// | `timeout` | e.g. `"90s"`, `"2m"`; at most 900 s | 300 s |
/// | `attempts` | the total number of attempts | 3 |
/// | `copy_assets` | a list of paths in the package, or of pairs `("from", "to")` | none |
/// | `validate` | a function `fn(&Context<Config>) -> Validity` | always valid |
/// | `rollback` | a function with the task's context that returns `TaskResult` | nothing is undone |
/// | `state` | a function `async fn(Context<Config>) -> Result<S, TaskError>`, called once per process before the first body; `ctx.state()` of `ctx: Context<Config, S>` returns its value | no state |
/// | `teardown` | a function `async fn(&S)`, called once when the process shuts down, for at most 2 s (0.5 s in Lambda); not called if the process is killed, e.g. after a timeout; requires `state` | the state is dropped |
/// | `category` | a label for listings | none |
/// | `tags` | a list of labels for listings | none |
/// | `retention` | how long the records of runs are kept, e.g. `"90d"` | 30 days |
/// | `result` | the type of the outcome's data, which is checked against its JSON Schema | any data |
///
/// # Queue tasks
///
/// The jobs of `#[task(queue)] pub async fn send_welcome_email(ctx: Context<Config>, to: String, count: u32) -> TaskResult`
/// have the arguments `to` and `count`. Their types implement `Serialize`, `Deserialize` and `JsonSchema`. They are
/// stored as `SendWelcomeEmailArguments`; a job with other arguments is rejected when it is enqueued.
///
/// `SendWelcomeEmail::enqueue(&jobs, to, count).await?` returns the `Job`, whose result has the type named by `result`.
/// Before the `.await`, `.delay(..)`, `.at(..)`, `.priority(..)`, `.unique(..)`, `.id(..)`, `.expires_in(..)` and
/// `.after(&job)` set the job's options. A task gets `jobs` from `ctx.jobs()` and lists the tasks it enqueues in `enqueues`.
///
/// # Side tasks
///
/// The body of `#[task(side)] pub async fn listen(ctx: Context<Config>) -> TaskResult` runs until `ctx.cancellation()`
/// fires, and then has 5 s to return. After an error or a panic it is restarted; the pause before the restart doubles
/// with each failure, up to one minute. A body that returns `Ok` is not restarted. Only one of the runners on a table
/// runs the task at a time.
#[proc_macro_attribute]
pub fn task(attributes: TokenStream, item: TokenStream) -> TokenStream {
    let function: syn::ItemFn = match syn::parse(item) {
        Ok(function) => function,
        Err(error) => return error.to_compile_error().into(),
    };
    match attributes::parse(attributes.into()).and_then(|attributes| expand::expand(&attributes, &function)) {
        Ok(tokens) => tokens.into(),
        Err(error) => {
            // The function is kept, so that no errors about a missing item follow.
            let error = error.to_compile_error();
            quote::quote!(#function #error).into()
        }
    }
}
