# O co pyta terminal, gdy czegoś brakuje.
ask-task = Które zadanie?
ask-command = Co zrobić?
ask-number = Numer albo nazwa:
