# Was `main` über einen Befehl im Ganzen sagt.
main-error = Fehler: { $reason }
