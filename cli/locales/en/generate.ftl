generate-written = wrote { $file }
generate-current = { $file } is up to date
generate-missing = { $file } is missing: run `lamplighter generate` and commit the file
generate-differs = { $file } is out of date: run `lamplighter generate` and commit the file
generate-from-line = from line { $line }:
generate-more-lines = ({ $count } more lines)
generate-environment = note: the template is not for the environment { $environment }, whose values differ: `lamplighter generate --environment { $environment } --output FILE` writes one for it
generate-side-task = note: { $task } is left out, since only a runner runs side tasks
generate-eventbridge = { $task }: EventBridge Scheduler starts it at { $expression }, { $zone }
generate-pulse = { $task }: the pulse starts it, because { $reasons }
generate-queue = { $task }: SQS passes its function { $batch ->
    [one] one job
   *[other] up to { $batch } jobs
} at a time, { $at_once ->
    [0] in as many concurrent invocations as the account allows
    [one] in one invocation
   *[other] in up to { $at_once } concurrent invocations
}; a message becomes a dead letter after { $deliveries ->
    [one] one delivery
   *[other] { $deliveries } deliveries
}
