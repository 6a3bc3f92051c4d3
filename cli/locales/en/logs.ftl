logs-none = no log lines
logs-reading = reading the log ({ $time })
