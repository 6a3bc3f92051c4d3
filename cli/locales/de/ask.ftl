# Fragen am Terminal nach dem, was in der Befehlszeile fehlt.
ask-task = Welche Aufgabe?
ask-command = Welcher Befehl?
ask-number = Nummer oder Name:
