# Ein Job.
job-no-queue = { $task } ist keine Queue-Aufgabe: `lamplighter run { $task }` startet sie
job-unfit = ungültige Argumente für { $task }: { $why }
job-no-such = es gibt keinen Job { $job }
job-joined = ein Job mit dieser ID oder diesem eindeutigen Schlüssel existiert bereits: es wurde kein neuer eingereiht
job-waiting = warte auf das Ende von { $job } ({ $time })
job-not-over = { $job } ist noch nicht beendet und läuft weiter
job-has-worker = Versuch { $attempt }, bis { $until } an einen Worker vergeben
job-waits-for = wartet auf { $count ->
    [one] einen anderen Job
   *[other] { $count } andere Jobs
}
job-not-before = startet frühestens { $at }
job-waits-for-worker = wartet auf einen Worker
job-cancelling = { $job } wird abgebrochen
job-is-over = { $job } ist bereits beendet: { $status }
job-failed = { $job } ist { $status }: { $why }
