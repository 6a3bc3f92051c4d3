# Harmonogramy słowami. Dni tygodnia to 1 (poniedziałek) do 7.
schedule-seconds = { $n ->
    [one] co sekundę
    [few] co { $n } sekundy
   *[other] co { $n } sekund
}
schedule-minutes = { $n ->
    [one] co minutę
    [few] co { $n } minuty
   *[other] co { $n } minut
}
schedule-hours = { $n ->
    [one] co godzinę
    [few] co { $n } godziny
   *[other] co { $n } godzin
}
schedule-within = { $every } od { $from } do { $to }
schedule-of-every-hour = { $count ->
   *[other] w { $minutes } minucie każdej godziny
}
schedule-at = o { $times }
schedule-ordinal = { $n }.
schedule-daily = codziennie { $time }
schedule-on-days = { $days } { $time }
schedule-weekdays = od poniedziałku do piątku
schedule-weekends = w weekendy
schedule-weekday = { $day ->
    [1] poniedziałki
    [2] wtorki
    [3] środy
    [4] czwartki
    [5] piątki
    [6] soboty
   *[7] niedziele
}
# „We” stoi przed wtorkiem i wrześniem.
schedule-on-weekdays = { $first ->
    [2] we { $days }
   *[other] w { $days }
}
schedule-weekday-span = od { $first ->
    [1] poniedziałku
    [2] wtorku
    [3] środy
    [4] czwartku
    [5] piątku
    [6] soboty
   *[7] niedzieli
} do { $last ->
    [1] poniedziałku
    [2] wtorku
    [3] środy
    [4] czwartku
    [5] piątku
    [6] soboty
   *[7] niedzieli
}
schedule-days = { $count ->
   *[other] { $days } dnia miesiąca
}
schedule-day-span = od { $first }. do { $last }. dnia miesiąca
schedule-last-day = ostatniego dnia miesiąca
schedule-last-workday = w ostatni dzień roboczy miesiąca
schedule-nearest-workday = w dzień roboczy najbliższy { $day }. dniowi miesiąca
# Środa, sobota i niedziela są rodzaju żeńskiego.
schedule-nth = w { $nth ->
    [1] { $day ->
            [3] pierwszą
            [6] pierwszą
            [7] pierwszą
           *[other] pierwszy
        }
    [2] { $day ->
            [3] drugą
            [6] drugą
            [7] drugą
           *[other] drugi
        }
    [3] { $day ->
            [3] trzecią
            [6] trzecią
            [7] trzecią
           *[other] trzeci
        }
    [4] { $day ->
            [3] czwartą
            [6] czwartą
            [7] czwartą
           *[other] czwarty
        }
   *[5] { $day ->
            [3] piątą
            [6] piątą
            [7] piątą
           *[other] piąty
        }
} { $day ->
    [1] poniedziałek
    [2] wtorek
    [3] środę
    [4] czwartek
    [5] piątek
    [6] sobotę
   *[7] niedzielę
} miesiąca
schedule-last-of = w { $day ->
    [3] ostatnią
    [6] ostatnią
    [7] ostatnią
   *[other] ostatni
} { $day ->
    [1] poniedziałek
    [2] wtorek
    [3] środę
    [4] czwartek
    [5] piątek
    [6] sobotę
   *[7] niedzielę
} miesiąca
schedule-date = { $day } { $month ->
    [1] stycznia
    [2] lutego
    [3] marca
    [4] kwietnia
    [5] maja
    [6] czerwca
    [7] lipca
    [8] sierpnia
    [9] września
    [10] października
    [11] listopada
   *[12] grudnia
}
schedule-month = { $month ->
    [1] styczniu
    [2] lutym
    [3] marcu
    [4] kwietniu
    [5] maju
    [6] czerwcu
    [7] lipcu
    [8] sierpniu
    [9] wrześniu
    [10] październiku
    [11] listopadzie
   *[12] grudniu
}
schedule-in-months = { $first ->
    [9] { $when } we { $months }
   *[other] { $when } w { $months }
}
schedule-months = { $when } od { $first ->
    [1] stycznia
    [2] lutego
    [3] marca
    [4] kwietnia
    [5] maja
    [6] czerwca
    [7] lipca
    [8] sierpnia
    [9] września
    [10] października
    [11] listopada
   *[12] grudnia
} do { $last ->
    [1] stycznia
    [2] lutego
    [3] marca
    [4] kwietnia
    [5] maja
    [6] czerwca
    [7] lipca
    [8] sierpnia
    [9] września
    [10] października
    [11] listopada
   *[12] grudnia
}
schedule-in-year = { $when } w { $year } roku
