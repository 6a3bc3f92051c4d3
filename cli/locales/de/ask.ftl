# Was am Terminal gefragt wird, wenn etwas fehlt.
ask-task = Welche Aufgabe?
ask-command = Was soll getan werden?
ask-number = Nummer oder Name:
