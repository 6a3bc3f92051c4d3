history-none = no runs
