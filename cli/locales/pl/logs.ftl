logs-none = brak wierszy
logs-in-aws = W AWS dziennik jest w CloudWatch Logs; odczytuje go to polecenie:
