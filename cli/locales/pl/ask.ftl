# Pytania w terminalu o to, czego brakuje w poleceniu.
ask-task = Które zadanie?
ask-command = Które polecenie?
ask-number = Numer lub nazwa:
