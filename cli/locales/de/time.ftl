time-ms = { $ms } ms
time-s = { $seconds } s
time-min = { $minutes } min { $seconds } s
time-h = { $hours } h { $minutes } min
time-days = { $days ->
    [one] { $days } Tag
   *[other] { $days } Tage
} { $hours } h
