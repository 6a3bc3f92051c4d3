deploy-no-version = die Version darf nicht leer sein
deploy-which-version = die aktive Version ist keine Zahl, daher gibt es keine nächste: bitte --version angeben
deploy-failed = Version { $version } wurde nicht ausgerollt: { $reason }
deploy-application = Anwendung
deploy-takes-over = Umschalten auf Version { $version }
deploy-rolling-back = Rollback
deploy-update = { $stack }: Update von Version { $before } auf { $version }
deploy-first = { $stack }: erstes Deployment, Version { $version }
deploy-live = Version { $version } ist aktiv
deploy-stays-live = Version { $version } bleibt aktiv
deploy-none-live = noch ist keine Version aktiv
# Folgt am Ende auf den Status des Stacks.
deploy-took = nach { $time }: { $serves }
deploy-before = vor der Anwendung
deploy-after = nach der Anwendung
deploy-undo-before = Rollback der Aufgaben vor der Anwendung
deploy-undo-after = Rollback der Aufgaben nach der Anwendung
