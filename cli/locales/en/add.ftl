add-exists = the workspace already has a binary `{ $task }`
add-no-schedule = --schedule is for cron tasks, and this is a { $kind } task
add-no-folder = no pattern of [project] tasks in lamplighter.toml takes any name in a folder, such as `functions/tasks/*`: { $patterns }
add-next = next: lamplighter run { $task }, and lamplighter generate for AWS
