# What is asked on a terminal when something is missing.
ask-task = Which task?
ask-command = What shall be done?
ask-number = Number or name:
