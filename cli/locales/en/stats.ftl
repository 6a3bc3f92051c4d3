stats-task = task
stats-runs = runs
stats-success = success
stats-average = average
stats-p50 = p50
stats-p99 = p99
stats-streak = failures in a row
stats-percent = { $rate } %
