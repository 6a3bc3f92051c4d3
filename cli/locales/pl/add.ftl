add-exists = workspace ma już program `{ $task }`
add-no-schedule = --schedule jest dla zadań cron, a to zadanie jest rodzaju { $kind }
add-no-folder = żaden wzorzec [project] tasks w lamplighter.toml nie dopuszcza dowolnej nazwy w folderze, jak `functions/tasks/*`: { $patterns }
add-next = dalej: lamplighter run { $task }, a dla AWS lamplighter generate
