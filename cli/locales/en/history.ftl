history-none = no runs
history-shown = { $count ->
    [one] { $count } run
   *[other] { $count } runs
}: { $statuses }
history-totals = { $count ->
    [one] { $count } run in total
   *[other] { $count } runs in total
}: { $statuses }
history-more = older: --cursor { $cursor }
history-unreadable = note: { $key } cannot be read and is left out: { $cause }
