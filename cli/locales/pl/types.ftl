types-config = konfiguracja:
types-no-config = brak konfiguracji
types-result = wynik: { $kind }
types-any-result = wynik: dowolne dane, nic nie jest obiecane
