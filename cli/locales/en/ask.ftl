# Questions at a terminal about what the command line lacks.
ask-task = Which task?
ask-command = Which command?
ask-number = Number or name:
