logs-none = brak wierszy dziennika
logs-reading = odczyt dziennika ({ $time })
