# Was `main` über einen Befehl im Ganzen sagt.
main-error = Fehler: { $reason }
main-missed = { $count ->
    [one] eine Zeile wird nicht gezeigt: niemand hat sie rechtzeitig gelesen
   *[other] { $count } Zeilen werden nicht gezeigt: niemand hat sie rechtzeitig gelesen
}
main-not-shown = nicht alles wird gezeigt: die Standardausgabe nimmt nichts mehr an ({ $reason })
