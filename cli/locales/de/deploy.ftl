deploy-no-version = eine Version kann nicht leer sein
deploy-which-version = die Version im Einsatz ist keine Zahl: nenne mit --version die nächste
deploy-failed = Version { $version } wurde nicht ausgerollt: { $reason }
deploy-application = Anwendung
deploy-takes-over = Version { $version } übernimmt
deploy-rolling-back = wird zurückgerollt
deploy-update = { $stack }: Update von Version { $before } auf { $version }
deploy-first = { $stack }: erstes Deployment, Version { $version }
deploy-serves = Version { $version } ist im Einsatz
deploy-keeps-serving = Version { $version } bleibt im Einsatz
deploy-nothing-serves = noch ist nichts im Einsatz
# Was am Ende auf den Status des Stacks folgt.
deploy-took = in { $time }: { $serves }
deploy-before = vor der Anwendung
deploy-after = nach der Anwendung
deploy-undo-before = rückgängig, was vor der Anwendung lief
deploy-undo-after = rückgängig, was nach der Anwendung lief
