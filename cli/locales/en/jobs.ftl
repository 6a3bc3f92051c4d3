# Jobs, those that failed, and messages that nobody understood.
jobs-none = there are no jobs
jobs-none-dead = there are no dead letters
jobs-attempts = { $count ->
    [one] { $count } attempt
   *[other] { $count } attempts
}
jobs-deliveries = { $count ->
    [one] delivered once
   *[other] delivered { $count } times
}
jobs-replayed = { $run } is enqueued again, as { $new }
jobs-replayed-before = { $run } was enqueued again before, as { $new }
jobs-sent-back = message { $message } is in its queue again
jobs-no-such = { $task } has no dead letter { $id }: `lamplighter jobs dead` lists them
jobs-runs = { $job } runs: `lamplighter abort` ends it
jobs-rung = no worker has { $job }: one is told of it once more
