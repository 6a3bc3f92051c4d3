# Die Befehle, die auf Aufgaben und Läufe wirken.
control-running = { $task } läuft ({ $time })
control-ending = { $task } soll enden ({ $time })
control-over = { $task }: { $status } nach { $time }
control-over-tries = { $task }: { $status } nach { $time }, { $tries } Versuche
control-not-completed = der Lauf { $run } von { $task } ist nicht abgeschlossen: { $status }
control-asked = der Lauf { $run } von { $task } ist gebeten, zu enden
control-left = der Lauf { $run } von { $task } wird sich selbst überlassen: er endet von allein, oder mit diesem Programm, wenn er hier läuft
control-is-disabled = { $task } ist nicht gelaufen: die Aufgabe ist ausgeschaltet; `lamplighter enable { $task }` schaltet sie wieder ein
control-is-running = { $task } ist nicht gelaufen: der Lauf { $run } ist noch im Gang, längstens bis { $until }
control-refused = { $task } ist nicht gelaufen: { $reason }
control-enabled = { $task } ist eingeschaltet
control-enabled-before = { $task } war schon eingeschaltet
control-disabled = { $task } ist ausgeschaltet
control-disabled-before = { $task } war schon ausgeschaltet
control-goes-on = der Lauf, der im Gang ist, geht weiter; `lamplighter cancel { $task }` beendet ihn
control-none-running = kein Lauf von { $task } ist im Gang
control-not-running = der Lauf { $run } ist nicht im Gang
