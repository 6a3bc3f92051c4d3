# Co wykonawca mówi o sobie, i polecenia, które o to pytają.
runner-started = { $project } działa w { $environment } jako { $instance }; Ctrl-C kończy
runner-by-deployment = przy wdrożeniu
runner-by-jobs = dla każdego zlecenia
runner-always = dopóki działa wykonawca
runner-disabled = żaden wykonawca nie startuje: TASK_RUNNER_ENABLED jest wyłączone
runner-missed = { $task }: { $count ->
    [one] nie rozpoczęło się jedno uruchomienie
    [few] nie rozpoczęły się { $count } uruchomienia
   *[other] nie rozpoczęło się { $count } uruchomień
}, ostatnie zaplanowane na { $last }
runner-stopping = kończenie: { $count ->
    [0] nic nie działa
    [one] jedno uruchomienie ma jeszcze { $seconds } s; jeszcze raz, aby zakończyć od razu
    [few] { $count } uruchomienia mają jeszcze { $seconds } s; jeszcze raz, aby zakończyć od razu
   *[other] { $count } uruchomień ma jeszcze { $seconds } s; jeszcze raz, aby zakończyć od razu
}
runner-stopped = zakończono
runner-looks = źródła są sprawdzane dwa razy na sekundę: { $reason }
runner-table-inherited = nie ma już procesu, który miał tabelę; teraz ma ją ten
runner-none = żaden wykonawca nie pracuje na tej tabeli
runner-is-running = działa
runner-is-stopping = kończy
runner-is-dead = nie żyje, ostatni znak { $heard }
runner-since = { $environment }, od { $started }
runner-runs = wykonuje { $tasks }
runner-gone = { $instance } zakończył pracę
runner-died = { $instance } już się nie odzywa: nie żyje
runner-waiting = czekanie, aż { $instance } zakończy ({ $time })
runner-unknown = nie ma wykonawcy { $instance }: są { $all }
runner-which = jest więcej niż jeden wykonawca: podaj jednego z { $all }
runner-built = zbudowano: mają to następne uruchomienia { $tasks }
runner-not-built = nie zbudowano, działa to, co zbudowano wcześniej: { $reason }
runner-side-began = { $task } działa, dopóki działa ten runner
runner-side-ended = { $task } zakończone: { $status }
runner-side-elsewhere = { $task } działa w innym runnerze
runner-table-in-use = czekam na inne polecenie, które używa tabeli przez to
