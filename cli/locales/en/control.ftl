# The commands that act on tasks and runs.
control-running = { $task } is running ({ $time })
control-ending = { $task } was asked to end ({ $time })
control-over = { $task } { $status } in { $time }
control-over-tries = { $task } { $status } in { $time }, { $tries } attempts
control-not-completed = run { $run } of { $task } ended { $status }
control-asked = asked run { $run } of { $task } to end
control-left = run { $run } of { $task } is left alone: it ends by itself, or with this program if it runs here
control-is-disabled = { $task } did not run: it is disabled; `lamplighter enable { $task }` lets it run again
control-is-running = { $task } did not run: its run { $run } is in progress, until { $until } at the latest
control-refused = { $task } did not run: { $reason }
control-enabled = { $task } is enabled
control-enabled-before = { $task } was enabled already
control-disabled = { $task } is disabled
control-disabled-before = { $task } was disabled already
control-goes-on = the run in progress goes on; `lamplighter cancel { $task }` ends it
control-none-running = no run of { $task } is in progress
control-not-running = run { $run } is not in progress
