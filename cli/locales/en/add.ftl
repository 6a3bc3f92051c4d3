add-exists = the workspace already has a binary `{ $task }`
add-no-schedule = --schedule is for cron tasks, and this is a { $kind } task
add-no-folder = `tasks` of [project] in lamplighter.toml needs a pattern that matches every name in a folder, such as `functions/tasks/*`, but its patterns are { $patterns }
add-next = next: lamplighter run { $task }, and lamplighter generate for AWS
