# Jobs.
job-no-queue = { $task } nimmt keine Jobs: `lamplighter run { $task }` startet die Aufgabe
job-unfit = die Argumente passen nicht zu { $task }: { $why }
job-no-such = hier gibt es keinen Job { $job }
job-joined = ein anderer Job steht für ihn: er ist nicht zu Ende, und dieser darf nur allein sein
job-waiting = { $job } ist nicht zu Ende ({ $time })
job-not-over = { $job } ist noch nicht zu Ende und läuft weiter
job-has-worker = Versuch { $attempt }, vergeben bis { $until }
job-waits-for = wartet auf { $count ->
    [one] einen anderen Job
   *[other] { $count } andere Jobs
}
job-not-before = startet nicht vor { $at }
job-waits-for-worker = wartet darauf, dass ihn jemand übernimmt
job-asked = { $job } läuft: er wurde gebeten, zu enden
job-is-over = { $job } ist zu Ende: { $status }
job-failed = { $job } ist { $status }: { $why }
