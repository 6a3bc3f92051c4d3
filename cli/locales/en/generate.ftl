generate-written = { $file } is written
generate-current = { $file } is current
generate-missing = { $file } is missing: run `lamplighter generate` and commit it
generate-differs = { $file } is not what would be written: run `lamplighter generate` and commit it
generate-from-line = from line { $line }:
generate-more-lines = ({ $count } more lines)
generate-side-task = note: { $task } is a side task, which only the runner runs: it is left out
generate-eventbridge = { $task }: EventBridge Scheduler starts it at { $expression }, { $zone }
generate-pulse = { $task }: the pulse starts it, because { $reasons }
generate-queue = { $task }: SQS gives its function { $batch ->
    [one] one job
   *[other] up to { $batch } jobs
} at a time, { $at_once ->
    [0] in as many invocations as there is room for
    [one] in one invocation
   *[other] in up to { $at_once } invocations
}; after { $deliveries } deliveries a message is a dead letter
