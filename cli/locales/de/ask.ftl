# Was am Terminal gefragt wird, wenn etwas fehlt.
ask-task = Welche Aufgabe?
ask-command = Was soll geschehen?
ask-number = Nummer oder Name:
