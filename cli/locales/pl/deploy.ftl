deploy-no-version = wersja nie może być pusta
deploy-which-version = działająca wersja nie jest liczbą: podaj następną przez --version
deploy-failed = wersja { $version } nie została wdrożona: { $reason }
deploy-application = aplikacja
deploy-takes-over = wersja { $version } przejmuje ruch
deploy-rolling-back = wycofywanie
deploy-update = { $stack }: aktualizacja z wersji { $before } do { $version }
deploy-first = { $stack }: pierwsze wdrożenie, wersja { $version }
deploy-serves = działa wersja { $version }
deploy-keeps-serving = nadal działa wersja { $version }
deploy-nothing-serves = nic jeszcze nie działa
# Co na końcu następuje po statusie stosu.
deploy-took = w { $time }: { $serves }
deploy-before = przed aplikacją
deploy-after = po aplikacji
deploy-undo-before = cofnięcie tego, co działało przed aplikacją
deploy-undo-after = cofnięcie tego, co działało po aplikacji
