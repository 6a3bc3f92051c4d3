stats-task = Aufgabe
stats-runs = Läufe
stats-success = Erfolg
stats-average = Mittel
stats-p50 = p50
stats-p99 = p99
stats-streak = Fehlschläge in Folge
stats-percent = { $rate } %
