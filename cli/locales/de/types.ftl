types-config = Konfiguration:
types-no-config = keine Konfiguration
types-result = Ergebnis: { $kind }
types-any-result = Ergebnis: ein beliebiger JSON-Wert
