# Der Puls: die Funktion, die jede Minute Aufgaben startet.
pulse-running = der Puls läuft ({ $time })
pulse-failed = der Puls ist fehlgeschlagen: { $reason }
pulse-another = ein anderer Pulslauf bearbeitet diese Minute
pulse-not-well = { $failed ->
    [one] { $failed } Lauf ist
   *[other] { $failed } Läufe sind
} in diesem Pulslauf fehlgeschlagen; Fehler des Pulses selbst: { $errors ->
    [none] keine
   *[other] { $errors }
}
pulse-numbers = fällig { $due }, gestartet { $executed }, abgeschlossen { $succeeded }, fehlgeschlagen { $failed }, übersprungen { $skipped }
pulse-health = der Puls { $health ->
    [HEALTHY] ist in Ordnung
    [FAILING] schlägt fehl
    [SILENT] läuft nicht mehr
   *[UNKNOWN] ist noch nicht gelaufen
}
pulse-last = letzter Pulslauf um { $time }: { $numbers }
pulse-rate = von den letzten { $pulses } Pulsläufen waren { $rate } % erfolgreich; Dauer im Mittel { $average }, längstens { $slowest }
pulse-streak = { $task } ist seit dem letzten Erfolg { $streak ->
    [one] einmal
   *[other] { $streak }-mal
} fehlgeschlagen
