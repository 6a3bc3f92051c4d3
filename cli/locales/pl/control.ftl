# Polecenia, które działają na zadania i przebiegi.
control-running = { $task }: w toku ({ $time })
control-ending = { $task }: poproszono o zakończenie ({ $time })
control-over = { $task }: { $status } po { $time }
control-over-tries = { $task }: { $status } po { $time }, liczba prób: { $tries }
control-not-completed = przebieg { $run } zadania { $task } nie jest zakończony: { $status }
control-asked = przebieg { $run } zadania { $task } poproszono o zakończenie
control-left = przebieg { $run } zadania { $task } zostaje bez opieki: skończy się sam albo z tym programem, jeśli działa tutaj
control-is-disabled = zadanie { $task } się nie wykonało: jest wyłączone; `lamplighter enable { $task }` je włączy
control-is-running = zadanie { $task } się nie wykonało: przebieg { $run } jest w toku, najpóźniej do { $until }
control-refused = zadanie { $task } się nie wykonało: { $reason }
control-enabled = zadanie { $task } jest włączone
control-enabled-before = zadanie { $task } było już włączone
control-disabled = zadanie { $task } jest wyłączone
control-disabled-before = zadanie { $task } było już wyłączone
control-goes-on = przebieg w toku trwa dalej; `lamplighter cancel { $task }` go zakończy
control-none-running = żaden przebieg zadania { $task } nie jest w toku
control-not-running = przebieg { $run } nie jest w toku
