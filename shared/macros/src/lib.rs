//! `#[task]`: makes a function a task.
//!
//! The macro only fills the trait `Task`; everything it does can be written by hand. Every word of the attribute is
//! read here with the parser that reads it later, so what cannot stand is an error at its own place.

mod attributes;
mod expand;

use proc_macro::TokenStream;

/// Makes an async function a task: `pub async fn run_migrations(ctx: Context<Config>) -> TaskResult` becomes the task
/// `run-migrations` of type `RunMigrations`. Its doc comment is the description.
///
/// | key | value | without it |
/// |---|---|---|
/// | `run_on` | a list of `Deploy`, `Update` | both |
/// | `phase` | `Before` or `After` the application | `Before` |
/// | `once_per` | `Deployment` or `Content` | `Deployment` |
/// | `depends_on` | a list of names of tasks | none |
/// | `schedule` | a cron expression in quotes, or a function `async fn(Context<Config>) -> Due` that is asked each minute; makes it a cron task | a lifecycle task |
/// | `timezone` | an IANA name, with a `schedule` in quotes | `UTC` |
/// | `priority` | `Critical`, `High`, `Medium`, `Low`, `Background`, with `schedule` | `Medium` |
/// | `overlap` | `Skip`, `Allow`, `Buffer`, `Replace`, with `schedule` | `Skip` |
/// | `catch_up` | `None`, `Last`, `"all within 1h"`, with `schedule` | `Last` |
/// | `jitter` | such as `"5m"`, at most 1 h, with a `schedule` in quotes | none |
/// | `run_once` | `true`: disabled after its first run, with `schedule` | `false` |
/// | `timeout` | such as `"90s"`, `"2m"`; at most 900 s | 300 s |
/// | `attempts` | how often the body is tried in total | 3 |
/// | `copy_assets` | a list of paths in the package, or of `("from", "to")` | none |
/// | `validate` | a function `fn(&Context<Config>) -> Validity` | always valid |
/// | `rollback` | a function like the task's | nothing is undone |
/// | `category` | a text in quotes, for lists | none |
/// | `tags` | a list of texts, for lists | none |
/// | `retention` | how long records of runs are kept, such as `"90d"` | 30 days |
/// | `result` | the type of its data, which is then checked against its JSON Schema | any data |
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
