# What a runner says of itself, and the commands that ask for it.
runner-started = { $project } runs in { $environment }, as { $instance }; Ctrl-C stops it
runner-by-deployment = with a deployment
runner-by-jobs = for each job
runner-always = for as long as the runner lives
runner-disabled = no runner starts: TASK_RUNNER_ENABLED is off
runner-missed = { $task }: { $count ->
    [one] a run
   *[other] { $count } runs
} did not begin, the last one scheduled for { $last }
runner-stopping = stopping: { $count ->
    [0] nothing runs
    [one] a run has { $seconds } s to finish; again to end at once
   *[other] { $count } runs have { $seconds } s to finish; again to end at once
}
runner-stopped = stopped
runner-looks = the sources are looked at twice a second: { $reason }
runner-table-inherited = the process that had the table is gone; this one has it now
runner-none = no runner works on this table
runner-is-running = is running
runner-is-stopping = is stopping
runner-is-dead = is dead, last heard of { $heard }
runner-since = { $environment }, since { $started }
runner-runs = runs { $tasks }
runner-gone = { $instance } has stopped
runner-died = { $instance } says nothing any more: it has died
runner-waiting = waiting for { $instance } to stop ({ $time })
runner-unknown = there is no runner { $instance }: there are { $all }
runner-which = there is more than one runner: name one of { $all }
runner-built = built: the next runs of { $tasks } have it
runner-not-built = not built, and what was built before goes on: { $reason }
runner-side-began = { $task } has begun, and runs as long as this runner
runner-side-ended = { $task } ended: { $status }
runner-side-elsewhere = { $task } runs in another runner
runner-table-in-use = waiting for another command, which uses the table through this one
