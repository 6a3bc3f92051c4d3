# Lists of jobs, dead letters and replays.
jobs-none = no jobs
jobs-none-dead = no dead letters
jobs-attempts = { $count ->
    [one] { $count } attempt
   *[other] { $count } attempts
}
jobs-deliveries = { $count ->
    [one] delivered once
   *[other] delivered { $count } times
}
jobs-replayed = { $run } was enqueued again as { $new }
jobs-replayed-before = { $run } had already been enqueued again as { $new }
jobs-sent-back = message { $message } is back in its queue
jobs-no-such = { $task } has no dead letter { $id }: `lamplighter jobs dead` lists them
jobs-runs = { $job } is in progress: `lamplighter jobs abort` cancels it
jobs-notified = { $job } had no worker: workers were notified again
