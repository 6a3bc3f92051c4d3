# Die Status eines Laufs.
status-pending = wartet
status-running = läuft
status-completed = abgeschlossen
status-failed = fehlgeschlagen
status-timeout = Zeit überschritten
status-cancelled = abgebrochen
status-skipped = übersprungen
status-blocked = blockiert
# Der Auslöser eines Laufs.
status-by-deploy = Deployment
status-by-update = Update
status-by-rollback = Rollback
status-by-schedule = Zeitplan
status-by-pulse = Puls
status-by-hand = manuell
status-by-queue = Queue
status-by-runner = Runner
