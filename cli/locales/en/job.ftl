# One job.
job-no-queue = { $task } is not a queue task: `lamplighter run { $task }` runs it
job-unfit = invalid arguments for { $task }: { $why }
job-no-such = there is no job { $job }
job-joined = a job with this id or unique key already exists: no new job was enqueued
job-waiting = waiting for { $job } to end ({ $time })
job-not-over = { $job } has not ended yet and continues
job-has-worker = attempt { $attempt }, leased to a worker until { $until }
job-waits-for = waiting for { $count ->
    [one] another job
   *[other] { $count } other jobs
}
job-not-before = starts at { $at } at the earliest
job-waits-for-worker = waiting for a worker
job-cancelling = cancelling { $job }
job-is-over = { $job } has already ended: { $status }
job-failed = { $job } is { $status }: { $why }
