history-none = brak przebiegów
