generate-written = { $file } wurde geschrieben
generate-current = { $file } ist aktuell
generate-missing = { $file } fehlt: bitte `lamplighter generate` ausführen und die Datei committen
generate-differs = { $file } ist veraltet: bitte `lamplighter generate` ausführen und die Datei committen
generate-from-line = ab Zeile { $line }:
generate-more-lines = { $count ->
    [one] ({ $count } weitere Zeile)
   *[other] ({ $count } weitere Zeilen)
}
generate-environment = Hinweis: Das Template gilt nicht für die Umgebung { $environment }, deren Werte abweichen: `lamplighter generate --environment { $environment } --output DATEI` schreibt eines für sie
generate-side-task = Hinweis: { $task } wird ausgelassen, weil nur ein Runner Nebenaufgaben ausführt
generate-eventbridge = { $task }: gestartet von EventBridge Scheduler nach { $expression }, { $zone }
generate-pulse = { $task }: gestartet vom Puls; Grund: { $reasons }
generate-queue = { $task }: SQS übergibt der Funktion { $batch ->
    [one] jeweils einen Job
   *[other] jeweils bis zu { $batch } Jobs
}, { $at_once ->
    [0] in so vielen parallelen Aufrufen, wie das Konto erlaubt
    [one] in einem einzigen Aufruf
   *[other] in bis zu { $at_once } parallelen Aufrufen
}; nach { $deliveries ->
    [one] einer Zustellung
   *[other] { $deliveries } Zustellungen
} gilt eine Nachricht als unzustellbar
