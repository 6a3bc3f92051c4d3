# Dlaczego przebieg się nie zaczął albo nie zakończył.
reason-disabled = wyłączone
reason-not-due = funkcja harmonogramu zadania odmówiła
reason-held = przebieg { $run } zajmuje zadanie do { $until }
reason-would-not-end = przebieg { $run } miał się skończyć, ale nie zdążył; zajmuje zadanie do { $until }
reason-begun = przebieg { $run } już się zaczął
reason-tick-ran = termin { $at } miał już swój przebieg
reason-deployment-ran = wdrożenie { $deployment } miało już swój przebieg
reason-lost = utracony: przed końcem blokady o { $until } przebieg nie dał znaku życia
reason-killed = utracony: program wykonujący funkcję został przerwany przed jej końcem
reason-never-ran = wymagane zadanie { $task } nigdy się nie wykonało
reason-needs = ostatni przebieg wymaganego zadania { $task } jest { $status } ({ $run })
# Dlaczego zadanie uruchamia puls, a nie EventBridge Scheduler. O którą część harmonogramu chodzi, jest po angielsku.
reason-dynamic = własna funkcja mówi, kiedy nadszedł termin
reason-inexpressible = EventBridge Scheduler nie potrafi wyrazić `{ $schedule }`: { $part }
reason-dependencies = zależy od innych zadań
reason-buffer = ma overlap `buffer`: termin czeka, aż przebieg się skończy
reason-catch-up = ma catch-up `{ $policy }`: każdy termin z przerwy ma swój przebieg
reason-jitter = ma jitter: terminy są przesunięte o stały udział zadania
