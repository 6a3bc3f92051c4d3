# The pulse: the function that starts tasks each minute.
pulse-running = the pulse is running ({ $time })
pulse-failed = the pulse failed: { $reason }
pulse-another = another pulse run handles this minute
pulse-not-well = { $failed ->
    [one] { $failed } run failed
   *[other] { $failed } runs failed
} in this pulse run; errors of the pulse itself: { $errors ->
    [none] none
   *[other] { $errors }
}
pulse-numbers = due { $due }, executed { $executed }, succeeded { $succeeded }, failed { $failed }, skipped { $skipped }
pulse-health = the pulse is { $health }
pulse-last = last pulse run at { $time }: { $numbers }
pulse-rate = { $rate } % of the last { $pulses } pulse runs succeeded; average time { $average }, longest { $slowest }
pulse-streak = { $task } has failed { $streak ->
    [one] once
   *[other] { $streak } times
} since it last completed
