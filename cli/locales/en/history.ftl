history-none = no runs
history-shown = { $count ->
    [one] { $count } run
   *[other] { $count } runs
}: { $statuses }
history-totals = { $count ->
    [one] in all { $count } run
   *[other] in all { $count } runs
}: { $statuses }
history-more = older ones: --cursor { $cursor }
history-unreadable = note: { $key } is left out: { $cause }
