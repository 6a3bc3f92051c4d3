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
generate-queue = { $task }: SQS gibt der Funktion { $batch ->
    [one] jeweils einen Auftrag
   *[other] jeweils bis zu { $batch } Aufträge
}, { $at_once ->
    [0] in so vielen Aufrufen, wie Platz ist
    [one] in einem einzigen Aufruf
   *[other] in bis zu { $at_once } Aufrufen
} zugleich; nach { $deliveries } Zustellungen kommt eine Nachricht zu den unzustellbaren
