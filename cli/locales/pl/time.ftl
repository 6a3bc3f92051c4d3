time-ms = { $ms } ms
time-s = { $seconds } s
time-min = { $minutes } min { $seconds } s
time-h = { $hours } h { $minutes } min
time-days = { $days ->
    [one] { $days } dzień
   *[other] { $days } dni
} { $hours } h
