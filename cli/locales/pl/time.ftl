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
    [one] { $days } dzień
   *[other] { $days } dni
}
time-days-hours = { $days ->
    [one] { $days } dzień
   *[other] { $days } dni
} { $hours } h
time-list = { $rest } i { $last }
# Za ile coś nastąpi i jak dawno było.
time-now = teraz
time-in-seconds = { $n ->
    [one] za { $n } sekundę
    [few] za { $n } sekundy
   *[other] za { $n } sekund
}
time-in-minutes = { $n ->
    [one] za { $n } minutę
    [few] za { $n } minuty
   *[other] za { $n } minut
}
time-in-hours = { $n ->
    [one] za { $n } godzinę
    [few] za { $n } godziny
   *[other] za { $n } godzin
}
time-in-days = { $n ->
    [one] za { $n } dzień
    [few] za { $n } dni
   *[other] za { $n } dni
}
time-seconds-ago = { $n ->
    [one] { $n } sekundę temu
    [few] { $n } sekundy temu
   *[other] { $n } sekund temu
}
time-minutes-ago = { $n ->
    [one] { $n } minutę temu
    [few] { $n } minuty temu
   *[other] { $n } minut temu
}
time-hours-ago = { $n ->
    [one] { $n } godzinę temu
    [few] { $n } godziny temu
   *[other] { $n } godzin temu
}
time-days-ago = { $n ->
    [one] { $n } dzień temu
    [few] { $n } dni temu
   *[other] { $n } dni temu
}
time-weekday = { $day ->
    [1] pon.
    [2] wt.
    [3] śr.
    [4] czw.
    [5] pt.
    [6] sob.
   *[7] niedz.
}
