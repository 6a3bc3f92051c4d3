# Wie ein Lauf steht.
status-pending = wartet
status-running = läuft
status-completed = abgeschlossen
status-failed = fehlgeschlagen
status-timeout = Zeit abgelaufen
status-cancelled = abgebrochen
status-skipped = übersprungen
status-blocked = blockiert
# Was einen Lauf ausgelöst hat.
status-by-deploy = Deployment
status-by-update = Update
status-by-rollback = Rollback
status-by-schedule = Zeitplan
status-by-pulse = Puls
status-by-hand = von Hand
status-by-queue = Warteschlange
status-by-runner = Runner
