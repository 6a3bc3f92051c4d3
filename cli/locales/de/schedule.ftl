# Zeitpläne in Worten. Wochentage sind 1 (Montag) bis 7.
schedule-seconds = { $n ->
    [one] jede Sekunde
   *[other] alle { $n } Sekunden
}
schedule-minutes = { $n ->
    [one] jede Minute
   *[other] alle { $n } Minuten
}
schedule-hours = { $n ->
    [one] jede Stunde
   *[other] alle { $n } Stunden
}
schedule-within = { $every } von { $from } bis { $to }
schedule-of-every-hour = { $count ->
   *[other] zur { $minutes } Minute jeder Stunde
}
schedule-at = um { $times }
schedule-ordinal = { $n }.
schedule-daily = täglich { $time }
schedule-on-days = { $days } { $time }
schedule-weekdays = montags bis freitags
schedule-weekends = am Wochenende
schedule-weekday = { $day ->
    [1] montags
    [2] dienstags
    [3] mittwochs
    [4] donnerstags
    [5] freitags
    [6] samstags
   *[7] sonntags
}
schedule-on-weekdays = { $first ->
   *[other] { $days }
}
schedule-weekday-span = { $first ->
    [1] montags
    [2] dienstags
    [3] mittwochs
    [4] donnerstags
    [5] freitags
    [6] samstags
   *[7] sonntags
} bis { $last ->
    [1] montags
    [2] dienstags
    [3] mittwochs
    [4] donnerstags
    [5] freitags
    [6] samstags
   *[7] sonntags
}
schedule-days = { $count ->
   *[other] am { $days } des Monats
}
schedule-day-span = vom { $first }. bis zum { $last }. des Monats
schedule-last-day = am letzten Tag des Monats
schedule-last-workday = am letzten Arbeitstag des Monats
schedule-nearest-workday = am Arbeitstag, der dem { $day }. des Monats am nächsten liegt,
schedule-nth = am { $nth ->
    [1] ersten
    [2] zweiten
    [3] dritten
    [4] vierten
   *[5] fünften
} { $day ->
    [1] Montag
    [2] Dienstag
    [3] Mittwoch
    [4] Donnerstag
    [5] Freitag
    [6] Samstag
   *[7] Sonntag
} des Monats
schedule-last-of = am letzten { $day ->
    [1] Montag
    [2] Dienstag
    [3] Mittwoch
    [4] Donnerstag
    [5] Freitag
    [6] Samstag
   *[7] Sonntag
} des Monats
schedule-date = am { $day }. { $month ->
    [1] Januar
    [2] Februar
    [3] März
    [4] April
    [5] Mai
    [6] Juni
    [7] Juli
    [8] August
    [9] September
    [10] Oktober
    [11] November
   *[12] Dezember
}
schedule-month = { $month ->
    [1] Januar
    [2] Februar
    [3] März
    [4] April
    [5] Mai
    [6] Juni
    [7] Juli
    [8] August
    [9] September
    [10] Oktober
    [11] November
   *[12] Dezember
}
schedule-in-months = { $first ->
   *[other] { $when } im { $months }
}
schedule-months = { $when } von { $first ->
    [1] Januar
    [2] Februar
    [3] März
    [4] April
    [5] Mai
    [6] Juni
    [7] Juli
    [8] August
    [9] September
    [10] Oktober
    [11] November
   *[12] Dezember
} bis { $last ->
    [1] Januar
    [2] Februar
    [3] März
    [4] April
    [5] Mai
    [6] Juni
    [7] Juli
    [8] August
    [9] September
    [10] Oktober
    [11] November
   *[12] Dezember
}
schedule-in-year = { $when } im Jahr { $year }
