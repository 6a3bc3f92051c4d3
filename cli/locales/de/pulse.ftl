# Was jede Minute Aufgaben startet.
pulse-running = der Puls arbeitet ({ $time })
pulse-failed = der Puls ist fehlgeschlagen: { $reason }
pulse-another = ein anderer Puls erledigt die Arbeit dieser Minute
pulse-not-well = { $failed ->
    [one] { $failed } Lauf ist fehlgeschlagen
   *[other] { $failed } Läufe sind fehlgeschlagen
} in diesem Puls; eigene Fehler: { $errors ->
    [none] keine
   *[other] { $errors }
}
pulse-numbers = fällig { $due }, gestartet { $executed }, abgeschlossen { $succeeded }, fehlgeschlagen { $failed }, übersprungen { $skipped }
pulse-health = der Puls { $health ->
    [HEALTHY] ist gesund
    [FAILING] schlägt fehl
    [SILENT] schweigt
   *[UNKNOWN] ist noch nicht gelaufen
}
pulse-last = zuletzt um { $time }: { $numbers }
pulse-rate = von den letzten { $pulses } Pulsen gingen { $rate } % gut; im Mittel { $average }, höchstens { $slowest }
pulse-streak = { $task } ist seit dem letzten Erfolg { $streak ->
    [one] einmal
   *[other] { $streak }-mal
} fehlgeschlagen
