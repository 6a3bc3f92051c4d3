# Komunikaty runnera i poleceń, które zarządzają runnerami.
runner-started = { $project } działa w środowisku { $environment } jako { $instance }; Ctrl-C kończy pracę
runner-by-deployment = przy każdym wdrożeniu
runner-by-jobs = dla każdego zlecenia
runner-always = dopóki działa runner
runner-disabled = runner nie startuje: TASK_RUNNER_ENABLED jest wyłączone
runner-missed = { $task }: { $count ->
    [one] pominięto { $count } przebieg
    [few] pominięto { $count } przebiegi
   *[other] pominięto { $count } przebiegów
}, ostatni był zaplanowany na { $last }
runner-stopping = kończenie pracy: { $count ->
    [0] nic nie jest w toku
    [one] { $count } przebieg ma jeszcze { $seconds } s; ponowne Ctrl-C kończy natychmiast
    [few] { $count } przebiegi mają jeszcze { $seconds } s; ponowne Ctrl-C kończy natychmiast
   *[other] { $count } przebiegów ma jeszcze { $seconds } s; ponowne Ctrl-C kończy natychmiast
}
runner-stopped = zakończono
runner-polls = źródła są sprawdzane dwa razy na sekundę, bo nie można ich obserwować: { $reason }
runner-table-inherited = proces, który udostępniał tabelę, zakończył się; teraz udostępnia ją ten proces
runner-none = żaden runner nie używa tej tabeli
runner-is-running = działa
runner-is-stopping = kończy pracę
runner-is-dead = martwy, ostatni sygnał { $heard }
runner-since = { $environment }, od { $started }
runner-runs = wykonuje { $tasks }
runner-gone = { $instance } zakończył pracę
runner-died = { $instance } jest martwy: nie wysyła już sygnałów
runner-waiting = oczekiwanie, aż { $instance } zakończy pracę ({ $time })
runner-unknown = nie ma runnera { $instance }: działające runnery to { $all }
runner-which = jest kilka runnerów: podaj jeden z nich: { $all }
runner-built = zbudowano: następne przebiegi { $tasks } użyją nowego kodu
runner-not-built = budowanie nie powiodło się, w użyciu pozostaje poprzednia wersja: { $reason }
runner-side-began = zadanie { $task } rozpoczęło pracę i działa, dopóki działa ten runner
runner-side-ended = zadanie { $task } zakończyło pracę: { $status }
runner-side-elsewhere = { $task } działa w innym runnerze
runner-table-in-use = oczekiwanie na inne polecenie, które używa tabeli za pośrednictwem tego procesu
