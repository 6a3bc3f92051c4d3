//! A queue task without work: it returns its argument and the time of its body's start. Its name is the program's name, so
//! that one binary serves as several tasks.

use lamplighter::{
    definition::{Definition, Kind, Priority, Queue},
    prelude::*,
};

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
struct Arguments {
    number: u64,
}

struct Job;

impl Task for Job {
    type Config = ();
    type State = ();

    const TAKES_JOBS: bool = true;

    fn definition() -> Definition {
        let program = std::env::args().next().unwrap_or_default();
        let name = program.rsplit('/').next().unwrap_or_default();
        let kind = Kind::Queue(Queue {
            priority: Priority::default(),
            concurrency: None,
            arguments_schema: schemars::schema_for!(Arguments).to_value(),
        });
        Definition::new(name.parse().expect("the benchmark gives a task's name"), kind)
    }

    async fn run(&self, ctx: Context<()>) -> TaskResult {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let Arguments { number } = ctx.arguments()?;
        Outcome::success("done").with_data(&(number, now.as_micros()))
    }
}

lamplighter::main!(Job);
