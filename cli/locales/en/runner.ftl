# Messages of a runner, and of the commands that look after runners.
runner-started = { $project } is running in { $environment } as { $instance }; press Ctrl-C to stop
runner-by-deployment = at each deployment
runner-by-jobs = for each job
runner-always = as long as the runner runs
runner-disabled = the runner does not start: TASK_RUNNER_ENABLED is off
runner-missed = { $task }: { $count ->
    [one] { $count } run was
   *[other] { $count } runs were
} missed, the last one scheduled for { $last }
runner-stopping = stopping: { $count ->
    [0] nothing is running
    [one] { $count } run has { $seconds } s to finish; press Ctrl-C again to stop at once
   *[other] { $count } runs have { $seconds } s to finish; press Ctrl-C again to stop at once
}
runner-stopped = stopped
runner-polls = polling the sources twice a second, because they cannot be watched: { $reason }
runner-table-inherited = the process that served the table has ended; this process serves it now
runner-none = no runner uses this table
runner-is-running = running
runner-is-stopping = stopping
runner-is-dead = dead, last heartbeat { $heard }
runner-since = { $environment }, since { $started }
runner-runs = executes { $tasks }
runner-gone = { $instance } has stopped
runner-died = { $instance } is dead: it sends no more heartbeats
runner-waiting = waiting for { $instance } to stop ({ $time })
runner-unknown = there is no runner { $instance }: the runners are { $all }
runner-which = there are several runners: name one of { $all }
runner-built = built: the next runs of { $tasks } use the new code
runner-not-built = the build failed, so the previous build stays in use: { $reason }
runner-side-began = { $task } has started, and runs as long as this runner
runner-side-ended = { $task } ended: { $status }
runner-side-elsewhere = { $task } runs in another runner
runner-table-in-use = waiting for another command that uses the table through this process
