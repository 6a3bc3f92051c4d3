# Jobs.
job-no-queue = { $task } is no queue task: `lamplighter run { $task }` runs it
job-unfit = the arguments do not fit { $task }: { $why }
job-no-such = there is no job { $job } here
job-joined = another job stands for it: it is not over, and this one must be the only one
job-waiting = { $job } is not over ({ $time })
job-not-over = { $job } is not over yet, and goes on
job-has-worker = attempt { $attempt }, a worker has it until { $until }
job-waits-for = it waits for { $count ->
    [one] another job
   *[other] { $count } other jobs
}
job-not-before = it may not start before { $at }
job-waits-for-worker = it waits for a worker
job-asked = { $job } runs: it was asked to end
job-is-over = { $job } is over: { $status }
job-failed = { $job } is { $status }: { $why }
