generate-written = { $file } ist geschrieben
generate-current = { $file } ist aktuell
generate-missing = { $file } fehlt: führe `lamplighter generate` aus und committe die Datei
generate-differs = { $file } ist nicht, was geschrieben würde: führe `lamplighter generate` aus und committe die Datei
generate-from-line = ab Zeile { $line }:
generate-more-lines = { $count ->
    [one] ({ $count } weitere Zeile)
   *[other] ({ $count } weitere Zeilen)
}
generate-side-task = Hinweis: { $task } ist eine Nebenaufgabe, die nur der Runner ausführt: sie wird ausgelassen
generate-eventbridge = { $task }: EventBridge Scheduler startet die Aufgabe nach { $expression }, { $zone }
generate-pulse = { $task }: der Puls startet die Aufgabe: { $reasons }
