logs-none = keine Protokollzeilen
logs-reading = lese das Protokoll ({ $time })
