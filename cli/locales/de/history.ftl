history-none = keine Läufe
