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
