# Meldungen zu einem Befehl als Ganzem.
main-error = Fehler: { $reason }
main-dropped = { $count ->
    [one] { $count } Zeile wurde verworfen: die Ausgabe wurde nicht rechtzeitig gelesen
   *[other] { $count } Zeilen wurden verworfen: die Ausgabe wurde nicht rechtzeitig gelesen
}
main-not-shown = die Ausgabe ist unvollständig: Schreiben auf die Standardausgabe ist nicht möglich ({ $reason })
