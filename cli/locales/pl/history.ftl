history-none = brak przebiegów
history-shown = { $count ->
    [one] { $count } przebieg
    [few] { $count } przebiegi
   *[other] { $count } przebiegów
}: { $statuses }
history-totals = { $count ->
    [one] łącznie { $count } przebieg
    [few] łącznie { $count } przebiegi
   *[other] łącznie { $count } przebiegów
}: { $statuses }
history-more = starsze: --cursor { $cursor }
history-unreadable = uwaga: nie można odczytać { $key }, pominięto: { $cause }
