# Jedno zlecenie.
job-no-queue = { $task } nie jest zadaniem kolejki: uruchamia je `lamplighter run { $task }`
job-unfit = nieprawidłowe argumenty zadania { $task }: { $why }
job-no-such = nie ma zlecenia { $job }
job-joined = zlecenie z tym identyfikatorem lub unikatowym kluczem już istnieje: nie dodano nowego
job-waiting = oczekiwanie na zakończenie { $job } ({ $time })
job-not-over = zlecenie { $job } jeszcze się nie zakończyło i trwa dalej
job-has-worker = próba { $attempt }, przydzielone workerowi do { $until }
job-waits-for = czeka na { $count ->
    [one] jedno inne zlecenie
    [few] { $count } inne zlecenia
   *[many] { $count } innych zleceń
}
job-not-before = rozpocznie się nie wcześniej niż { $at }
job-waits-for-worker = czeka na workera
job-cancelling = anulowanie { $job }
job-is-over = zlecenie { $job } już się zakończyło: { $status }
job-failed = zlecenie { $job } ma status „{ $status }”: { $why }
