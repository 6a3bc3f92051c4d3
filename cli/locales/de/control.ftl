# Die Befehle, die auf Tasks und Läufe wirken.
control-running = { $task } läuft ({ $time })
control-ending = { $task } wurde gebeten zu enden ({ $time })
control-over = { $task } { $status } nach { $time }
control-over-tries = { $task } { $status } nach { $time }, { $tries } Versuche
control-not-completed = der Lauf { $run } von { $task } endete: { $status }
control-asked = der Lauf { $run } von { $task } wurde gebeten zu enden
control-left = der Lauf { $run } von { $task } bleibt sich überlassen: er endet von selbst, oder mit diesem Programm, wenn er hier läuft
control-is-disabled = { $task } lief nicht: der Task ist abgeschaltet; `lamplighter enable { $task }` schaltet ihn wieder ein
control-is-running = { $task } lief nicht: sein Lauf { $run } ist noch im Gange, längstens bis { $until }
control-refused = { $task } lief nicht: { $reason }
control-enabled = { $task } ist eingeschaltet
control-enabled-before = { $task } war schon eingeschaltet
control-disabled = { $task } ist abgeschaltet
control-disabled-before = { $task } war schon abgeschaltet
control-goes-on = der laufende Lauf geht weiter; `lamplighter cancel { $task }` beendet ihn
control-none-running = kein Lauf von { $task } ist im Gange
control-not-running = der Lauf { $run } ist nicht im Gange
