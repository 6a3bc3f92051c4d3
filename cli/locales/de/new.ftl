new-created = { $file } angelegt
new-changed = { $file } geändert
new-not-empty = der Ordner { $folder } ist nicht leer
new-inside = { $manifest } liegt über dem neuen Ordner: falls es ein Workspace ist, nehmen Sie den Ordner in dessen `exclude` auf
new-kinds = Welche Arten von Aufgaben? (Leertaste wählt, Enter beendet)
new-next = weiter: cd { $folder } && lamplighter up
new-dry-run = nichts wurde geschrieben
