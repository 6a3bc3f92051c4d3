# Meldungen eines Runners und der Befehle, die Runner verwalten.
runner-started = { $project } läuft in { $environment } als { $instance }; Beenden mit Strg-C
runner-by-deployment = bei jedem Deployment
runner-by-jobs = für jeden Job
runner-always = solange der Runner läuft
runner-disabled = der Runner startet nicht: TASK_RUNNER_ENABLED ist ausgeschaltet
runner-missed = { $task }: { $count ->
    [one] { $count } Lauf wurde
   *[other] { $count } Läufe wurden
} verpasst, der letzte war für { $last } geplant
runner-stopping = wird beendet: { $count ->
    [0] nichts läuft
    [one] { $count } Lauf hat noch { $seconds } s; erneutes Strg-C beendet sofort
   *[other] { $count } Läufe haben noch { $seconds } s; erneutes Strg-C beendet sofort
}
runner-stopped = beendet
runner-polls = die Quellen werden zweimal pro Sekunde geprüft, weil sie sich nicht überwachen lassen: { $reason }
runner-table-inherited = der Prozess, der die Tabelle bereitstellte, ist beendet; jetzt stellt dieser Prozess sie bereit
runner-none = kein Runner benutzt diese Tabelle
runner-is-running = läuft
runner-is-stopping = wird beendet
runner-is-dead = tot, letzter Heartbeat { $heard }
runner-since = { $environment }, seit { $started }
runner-runs = führt { $tasks } aus
runner-gone = { $instance } ist beendet
runner-died = { $instance } ist tot: es kommen keine Heartbeats mehr
runner-waiting = warte auf das Ende von { $instance } ({ $time })
runner-unknown = es gibt keinen Runner { $instance }: vorhanden sind { $all }
runner-which = es gibt mehrere Runner: bitte einen angeben: { $all }
runner-built = gebaut: die nächsten Läufe von { $tasks } verwenden den neuen Code
runner-not-built = der Build ist fehlgeschlagen, daher bleibt der vorige in Gebrauch: { $reason }
runner-side-began = { $task } ist gestartet und läuft, solange dieser Runner läuft
runner-side-ended = { $task } ist beendet: { $status }
runner-side-elsewhere = { $task } läuft in einem anderen Runner
runner-table-in-use = warte auf einen anderen Befehl, der die Tabelle über diesen Prozess benutzt
