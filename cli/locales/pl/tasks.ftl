tasks-none = brak zadań w { $folder }
tasks-attempts = { $count ->
    [one] { $count } próba
    [few] { $count } próby
   *[other] { $count } prób
}
# Kiedy działa zadanie wdrożenia: `wdrożenie aktualizacja (przed, wymaga run-migrations)`.
tasks-lifecycle = { $on } ({ $phase })
tasks-lifecycle-needs = { $on } ({ $phase }, wymaga { $needs })
tasks-before = przed
tasks-after = po
tasks-cron = { $schedule } ({ $zone })
tasks-by-function = według własnej funkcji harmonogramu
tasks-queue = kolejka
tasks-side = poboczne
tasks-none-such = brak pasujących zadań
# Stan zadania.
tasks-disabled = wyłączone
tasks-running = w toku
tasks-last = ostatnio { $status }
tasks-next = następny przebieg { $far }
