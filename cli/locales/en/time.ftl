time-ms = { $ms } ms
time-s = { $seconds } s
time-min = { $seconds ->
    [0] { $minutes } min
   *[other] { $minutes } min { $seconds } s
}
time-h = { $minutes ->
    [0] { $hours } h
   *[other] { $hours } h { $minutes } min
}
time-days = { $days ->
    [one] { $days } day
   *[other] { $days } days
}
time-days-hours = { $days ->
    [one] { $days } day
   *[other] { $days } days
} { $hours } h
time-list = { $rest } and { $last }
# How far away something is, and how long ago it was.
time-now = now
time-in-seconds = { $n ->
    [one] in { $n } second
   *[other] in { $n } seconds
}
time-in-minutes = { $n ->
    [one] in { $n } minute
   *[other] in { $n } minutes
}
time-in-hours = { $n ->
    [one] in { $n } hour
   *[other] in { $n } hours
}
time-in-days = { $n ->
    [one] in { $n } day
   *[other] in { $n } days
}
time-seconds-ago = { $n ->
    [one] { $n } second ago
   *[other] { $n } seconds ago
}
time-minutes-ago = { $n ->
    [one] { $n } minute ago
   *[other] { $n } minutes ago
}
time-hours-ago = { $n ->
    [one] { $n } hour ago
   *[other] { $n } hours ago
}
time-days-ago = { $n ->
    [one] { $n } day ago
   *[other] { $n } days ago
}
time-weekday = { $day ->
    [1] Mon
    [2] Tue
    [3] Wed
    [4] Thu
    [5] Fri
    [6] Sat
   *[7] Sun
}
