# Zadania z kolejki.
job-no-queue = { $task } nie przyjmuje zadań z kolejki: uruchamia je `lamplighter run { $task }`
job-unfit = argumenty nie pasują do { $task }: { $why }
job-no-such = nie ma tu zadania { $job }
job-joined = zastępuje je inne: jeszcze się nie skończyło, a to musi być jedyne
job-waiting = { $job } jeszcze się nie skończyło ({ $time })
job-not-over = { $job } jeszcze się nie skończyło i trwa dalej
job-has-worker = próba { $attempt }, przydzielone do { $until }
job-waits-for = czeka na { $count ->
    [one] jedno inne zadanie
    [few] { $count } inne zadania
   *[many] { $count } innych zadań
}
job-not-before = nie zacznie się przed { $at }
job-waits-for-worker = czeka na wykonawcę
job-asked = { $job } trwa: poproszono o zakończenie
job-is-over = { $job } już się skończyło: { $status }
job-failed = { $job } ma stan { $status }: { $why }
