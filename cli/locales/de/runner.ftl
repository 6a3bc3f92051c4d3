# Was ein Läufer von sich sagt, und die Befehle, die danach fragen.
runner-started = { $project } läuft in { $environment }, als { $instance }; Strg-C beendet es
runner-by-deployment = mit einem Deployment
runner-by-jobs = für jeden Auftrag
runner-always = solange der Läufer lebt
runner-disabled = es startet kein Läufer: TASK_RUNNER_ENABLED ist aus
runner-missed = { $task }: { $count ->
    [one] ein Lauf hat nicht begonnen
   *[other] { $count } Läufe haben nicht begonnen
}, der letzte geplant für { $last }
runner-stopping = wird beendet: { $count ->
    [0] nichts läuft
    [one] ein Lauf hat noch { $seconds } s; noch einmal, um sofort zu enden
   *[other] { $count } Läufe haben noch { $seconds } s; noch einmal, um sofort zu enden
}
runner-stopped = beendet
runner-looks = nach den Quellen wird zweimal in der Sekunde gesehen: { $reason }
runner-table-inherited = der Prozess, der die Tabelle hatte, ist weg; jetzt hat sie dieser
runner-none = kein Läufer arbeitet an dieser Tabelle
runner-is-running = läuft
runner-is-stopping = wird beendet
runner-is-dead = ist tot, zuletzt gehört { $heard }
runner-since = { $environment }, seit { $started }
runner-runs = führt aus: { $tasks }
runner-gone = { $instance } ist beendet
runner-died = { $instance } sagt nichts mehr: er ist tot
runner-waiting = wartet, bis { $instance } endet ({ $time })
runner-unknown = es gibt keinen Läufer { $instance }: es gibt { $all }
runner-which = es gibt mehr als einen Läufer: nennen Sie einen von { $all }
runner-built = gebaut: die nächsten Läufe von { $tasks } haben es
runner-not-built = nicht gebaut, das vorher Gebaute läuft weiter: { $reason }
runner-side-began = { $task } hat begonnen und läuft, solange dieser Runner läuft
runner-side-ended = { $task } ist zu Ende: { $status }
runner-side-elsewhere = { $task } läuft in einem anderen Runner
runner-table-in-use = wartet auf einen anderen Befehl, der die Tabelle durch diesen benutzt
