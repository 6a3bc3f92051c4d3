new-created = utworzono { $file }
new-changed = zmieniono { $file }
new-not-empty = folder { $folder } nie jest pusty
new-inside = { $manifest } leży nad nowym folderem: jeśli to workspace, dodaj folder do jego `exclude`
new-kinds = Jakie rodzaje zadań? (spacja wybiera, Enter kończy)
new-next = dalej: cd { $folder } && lamplighter up
new-dry-run = niczego nie zapisano
