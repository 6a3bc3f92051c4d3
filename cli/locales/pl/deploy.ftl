deploy-no-version = wersja nie może być pusta
deploy-which-version = aktywna wersja nie jest liczbą, więc nie wiadomo, jaka jest następna: podaj --version
deploy-failed = wersja { $version } nie została wdrożona: { $reason }
deploy-application = aplikacja
deploy-takes-over = przełączanie na wersję { $version }
deploy-rolling-back = wycofywanie zmian
deploy-update = { $stack }: aktualizacja z wersji { $before } do { $version }
deploy-first = { $stack }: pierwsze wdrożenie, wersja { $version }
deploy-live = wersja { $version } jest aktywna
deploy-stays-live = wersja { $version } pozostaje aktywna
deploy-none-live = żadna wersja nie jest jeszcze aktywna
# Następuje na końcu po statusie stosu.
deploy-took = po { $time }: { $serves }
deploy-before = przed aplikacją
deploy-after = po aplikacji
deploy-undo-before = wycofanie zadań sprzed aplikacji
deploy-undo-after = wycofanie zadań po aplikacji
