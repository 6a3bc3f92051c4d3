types-config = konfiguracja:
types-no-config = brak konfiguracji
types-result = wynik: { $kind }
types-any-result = wynik: dowolna wartość JSON
