add-exists = der Workspace hat schon ein Programm `{ $task }`
add-no-schedule = --schedule ist für Cron-Aufgaben, und dies ist eine Aufgabe der Art { $kind }
add-no-folder = kein Muster von [project] tasks in lamplighter.toml erlaubt jeden Namen in einem Ordner, wie `functions/tasks/*`: { $patterns }
add-next = weiter: lamplighter run { $task }, und lamplighter generate für AWS
