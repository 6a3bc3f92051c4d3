# What starts tasks each minute.
pulse-running = the pulse is at work ({ $time })
pulse-failed = the pulse failed: { $reason }
pulse-another = another pulse does the work of this minute
pulse-not-well = { $failed ->
    [one] { $failed } run failed
   *[other] { $failed } runs failed
} in this pulse; errors of its own: { $errors ->
    [none] none
   *[other] { $errors }
}
pulse-numbers = due { $due }, executed { $executed }, succeeded { $succeeded }, failed { $failed }, skipped { $skipped }
pulse-health = the pulse is { $health }
pulse-last = last at { $time }: { $numbers }
pulse-rate = of the last { $pulses } pulses { $rate } % went well; { $average } on average, { $slowest } at most
pulse-streak = { $task } has failed { $streak ->
    [one] once
   *[other] { $streak } times
} since it last completed
