# Why a run did not run, or did not complete.
reason-disabled = disabled
reason-not-due = its schedule function said no
reason-held = run { $run } holds the task until { $until }
reason-would-not-end = run { $run } was asked to end and did not in time; it holds the task until { $until }
reason-begun = run { $run } has begun already
reason-tick-ran = the scheduled time { $at } has had its run
reason-deployment-ran = the deployment { $deployment } has had its run
reason-lost = lost: nothing was heard of the run before its lease ended at { $until }
reason-killed = lost: the program that ran its function was ended before it was over
reason-never-ran = { $task }, which it depends on, has never run
reason-needs = the last run of { $task }, which it depends on, ended { $status } ({ $run })
# Why the pulse starts a task, and not EventBridge Scheduler. What part of a schedule it means is said in English.
reason-dynamic = its own function says when it is due
reason-inexpressible = EventBridge Scheduler cannot express `{ $schedule }`: { $part }
reason-dependencies = it depends on other tasks
reason-buffer = its overlap is `buffer`: a tick waits until the run is over
reason-catch-up = its catch-up is `{ $policy }`: each tick of a pause has its run
reason-jitter = it has jitter: its ticks are put off by its own fixed share
