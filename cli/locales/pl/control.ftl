# Polecenia, które działają na zadania i przebiegi.
control-running = { $task } działa ({ $time })
control-ending = { $task } poproszono o zakończenie ({ $time })
control-over = { $task } { $status } po { $time }
control-over-tries = { $task } { $status } po { $time }, liczba prób: { $tries }
control-not-completed = przebieg { $run } zadania { $task } zakończył się: { $status }
control-asked = przebieg { $run } zadania { $task } poproszono o zakończenie
control-left = przebieg { $run } zadania { $task } pozostaje sam sobie: skończy się sam albo z tym programem, jeśli działa tutaj
control-is-disabled = { $task } nie zostało uruchomione: zadanie jest wyłączone; `lamplighter enable { $task }` je włączy
control-is-running = { $task } nie zostało uruchomione: przebieg { $run } jest w toku, najpóźniej do { $until }
control-refused = { $task } nie zostało uruchomione: { $reason }
control-enabled = { $task } jest włączone
control-enabled-before = { $task } było już włączone
control-disabled = { $task } jest wyłączone
control-disabled-before = { $task } było już wyłączone
control-goes-on = przebieg w toku trwa dalej; `lamplighter cancel { $task }` go zakończy
control-none-running = żaden przebieg zadania { $task } nie jest w toku
control-not-running = przebieg { $run } nie jest w toku
