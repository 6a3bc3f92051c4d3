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
    [one] { $days } Tag
   *[other] { $days } Tage
}
time-days-hours = { $days ->
    [one] { $days } Tag
   *[other] { $days } Tage
} { $hours } h
time-list = { $rest } und { $last }
# Wie weit etwas entfernt ist, und wie lange es her ist.
time-now = jetzt
time-in-seconds = { $n ->
    [one] in { $n } Sekunde
   *[other] in { $n } Sekunden
}
time-in-minutes = { $n ->
    [one] in { $n } Minute
   *[other] in { $n } Minuten
}
time-in-hours = { $n ->
    [one] in { $n } Stunde
   *[other] in { $n } Stunden
}
time-in-days = { $n ->
    [one] in { $n } Tag
   *[other] in { $n } Tagen
}
time-seconds-ago = { $n ->
    [one] vor { $n } Sekunde
   *[other] vor { $n } Sekunden
}
time-minutes-ago = { $n ->
    [one] vor { $n } Minute
   *[other] vor { $n } Minuten
}
time-hours-ago = { $n ->
    [one] vor { $n } Stunde
   *[other] vor { $n } Stunden
}
time-days-ago = { $n ->
    [one] vor { $n } Tag
   *[other] vor { $n } Tagen
}
time-weekday = { $day ->
    [1] Mo
    [2] Di
    [3] Mi
    [4] Do
    [5] Fr
    [6] Sa
   *[7] So
}
