logs-none = keine Zeilen
logs-reading = das Protokoll wird gelesen ({ $time })
