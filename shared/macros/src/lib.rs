//! `#[task]`: makes a function a task.
//!
//! The macro only fills the trait `Task`; everything it does can be written by hand. Every word of the attribute is
//! read here with the parser that reads it later, so what cannot stand is an error at its own place.

mod arguments;
mod attributes;
mod expand;

use proc_macro::TokenStream;

/// Makes an async function a task: `pub async fn run_migrations(ctx: Context<Config>) -> TaskResult` becomes the task
/// `run-migrations` of type `RunMigrations`. Its doc comment is the description.
///
/// | key | value | without it |
/// |---|---|---|
/// | `queue` | alone: makes it a queue task, whose function takes the job's arguments after its context | a lifecycle task |
/// | `side` | alone: makes it a side task, which runs as long as its runner does | a lifecycle task |
/// | `run_on` | a list of `Deploy`, `Update` | both |
/// | `phase` | `Before` or `After` the application | `Before` |
/// | `once_per` | `Deployment` or `Content` | `Deployment` |
/// | `depends_on` | a list of names of tasks | none |
/// | `schedule` | a cron expression in quotes, or a function `async fn(Context<Config>) -> Due` that is asked each minute; makes it a cron task | a lifecycle task |
/// | `timezone` | an IANA name, with a `schedule` in quotes | `UTC` |
/// | `priority` | `Critical`, `High`, `Medium`, `Low`, `Background`, with `schedule` or `queue` | `Medium` |
/// | `overlap` | `Skip`, `Allow`, `Buffer`, `Replace`, with `schedule` | `Skip` |
/// | `catch_up` | `None`, `Last`, `"all within 1h"`, with `schedule` | `Last` |
/// | `jitter` | such as `"5m"`, at most 1 h, with a `schedule` in quotes | none |
/// | `run_once` | `true`: disabled after its first run, with `schedule` | `false` |
/// | `concurrency` | how many jobs may run at once, with `queue` | as many as there are workers for |
/// | `enqueues` | a list of names of queue tasks for which it enqueues jobs: its role may send to their queues | none |
/// | `on_error` | a function `async fn(Context<Config>, RunError)`, with `side`: called once after a failure, before the task is started again; it has 3 s | nothing |
/// | `on_shutdown` | a function like the task's that returns nothing, with `side`: called once when the task is asked to end, after its body; it has 3 s | nothing |
/// | `timeout` | such as `"90s"`, `"2m"`; at most 900 s | 300 s |
/// | `attempts` | how often the body is tried in total | 3 |
/// | `copy_assets` | a list of paths in the package, or of `("from", "to")` | none |
/// | `validate` | a function `fn(&Context<Config>) -> Validity` | always valid |
/// | `rollback` | a function like the task's, with its `Context` alone | nothing is undone |
/// | `state` | a function `async fn(Context<Config>) -> Result<S, TaskError>`, called once per process before the first body: what it gives is `ctx.state()` of `ctx: Context<Config, S>` | no state |
/// | `teardown` | a function `async fn(&S)`, with `state`: called once as the process ends in good order, for at most 2 s; in Lambda half a second, and not at all if Lambda kills the process (after a timeout, or a crash) | the state is dropped |
/// | `category` | a text in quotes, for lists | none |
/// | `tags` | a list of texts, for lists | none |
/// | `retention` | how long records of runs are kept, such as `"90d"` | 30 days |
/// | `result` | the type of its data, which is then checked against its JSON Schema | any data |
///
/// # Queue tasks
///
/// `#[task(queue)] pub async fn send_welcome_email(ctx: Context<Config>, to: String, count: u32) -> TaskResult` has jobs with
/// the arguments `to` and `count`, of types that are `Serialize`, `Deserialize` and `JsonSchema`. They are stored as
/// `SendWelcomeEmailArguments`; a job with others is refused when it is enqueued.
///
/// `SendWelcomeEmail::enqueue(&jobs, to, count).await?` gives the `Job`, with what `result` names as the type of its result;
/// before it is awaited, `.delay(..)`, `.at(..)`, `.priority(..)`, `.unique(..)`, `.id(..)`, `.expires_in(..)` and `.after(&job)` say
/// more. A task gets `jobs` from `ctx.jobs()`, and names in `enqueues` for which tasks it has jobs.
///
/// # Side tasks
///
/// The body of `#[task(side)] pub async fn listen(ctx: Context<Config>) -> TaskResult` goes on until `ctx.cancellation()` fires,
/// and then has 5 s to return; an error or a panic before that starts it again, after a pause that doubles with each
/// failure up to a minute. One that returns has come to its end. Of all runners on one table one has it at a time.
#[proc_macro_attribute]
pub fn task(attributes: TokenStream, item: TokenStream) -> TokenStream {
    let function: syn::ItemFn = match syn::parse(item) {
        Ok(function) => function,
        Err(error) => return error.to_compile_error().into(),
    };
    match attributes::parse(attributes.into()).and_then(|attributes| expand::expand(&attributes, &function)) {
        Ok(tokens) => tokens.into(),
        Err(error) => {
            // The function stays, so that the only error is the one that counts.
            let error = error.to_compile_error();
            quote::quote!(#function #error).into()
        }
    }
}
