# The statuses of a run.
status-pending = PENDING
status-running = RUNNING
status-completed = COMPLETED
status-failed = FAILED
status-timeout = TIMEOUT
status-cancelled = CANCELLED
status-skipped = SKIPPED
status-blocked = BLOCKED
# The trigger of a run.
status-by-deploy = deploy
status-by-update = update
status-by-rollback = rollback
status-by-schedule = schedule
status-by-pulse = pulse
status-by-hand = manual
status-by-queue = queue
status-by-runner = runner
