tasks-none = no tasks in { $folder }
tasks-attempts = { $count ->
    [one] { $count } attempt
   *[other] { $count } attempts
}
# When a lifecycle task runs: `deploy update (before, needs run-migrations)`.
tasks-lifecycle = { $on } ({ $phase })
tasks-lifecycle-needs = { $on } ({ $phase }, needs { $needs })
tasks-before = before
tasks-after = after
tasks-cron = { $schedule } ({ $zone })
tasks-by-function = by its schedule function
tasks-queue = queue
tasks-side = side
tasks-none-such = no matching tasks
# The state of a task.
tasks-disabled = disabled
tasks-running = running
tasks-last = last { $status }
tasks-next = next { $far }
