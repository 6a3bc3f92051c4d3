stats-task = zadanie
stats-runs = przebiegi
stats-success = sukces
stats-average = średnio
stats-p50 = p50
stats-p99 = p99
stats-streak = niepowodzenia z rzędu
stats-percent = { $rate }%
