logs-none = no lines
logs-reading = reading the log ({ $time })
