history-none = keine Läufe
history-shown = { $count ->
    [one] { $count } Lauf
   *[other] { $count } Läufe
}: { $statuses }
history-totals = { $count ->
    [one] insgesamt { $count } Lauf
   *[other] insgesamt { $count } Läufe
}: { $statuses }
history-more = ältere: --cursor { $cursor }
history-unreadable = Hinweis: { $key } ist nicht lesbar und wird ausgelassen: { $cause }
