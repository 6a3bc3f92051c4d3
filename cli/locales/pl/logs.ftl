logs-none = brak wierszy
logs-reading = czytanie dziennika ({ $time })
