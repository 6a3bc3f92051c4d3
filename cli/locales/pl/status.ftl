# Statusy przebiegu.
status-pending = oczekuje
status-running = w toku
status-completed = zakończony
status-failed = nieudany
status-timeout = przekroczony czas
status-cancelled = anulowany
status-skipped = pominięty
status-blocked = zablokowany
# Wyzwalacz przebiegu.
status-by-deploy = wdrożenie
status-by-update = aktualizacja
status-by-rollback = wycofanie
status-by-schedule = harmonogram
status-by-pulse = puls
status-by-hand = ręcznie
status-by-queue = kolejka
status-by-runner = runner
