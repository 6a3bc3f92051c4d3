# Schedules in words. Days of the week are 1 (Monday) to 7.
schedule-seconds = { $n ->
    [one] every second
   *[other] every { $n } seconds
}
schedule-minutes = { $n ->
    [one] every minute
   *[other] every { $n } minutes
}
schedule-hours = { $n ->
    [one] every hour
   *[other] every { $n } hours
}
schedule-within = { $every } from { $from } to { $to }
schedule-of-every-hour = { $count ->
    [one] at minute { $minutes } of every hour
   *[other] at minutes { $minutes } of every hour
}
schedule-at = at { $times }
schedule-ordinal = { $n }
schedule-daily = every day { $time }
schedule-on-days = { $time } { $days }
schedule-weekdays = from Monday to Friday
schedule-weekends = at the weekend
schedule-weekday = { $day ->
    [1] Mondays
    [2] Tuesdays
    [3] Wednesdays
    [4] Thursdays
    [5] Fridays
    [6] Saturdays
   *[7] Sundays
}
schedule-on-weekdays = { $first ->
   *[other] on { $days }
}
schedule-weekday-span = from { $first ->
    [1] Monday
    [2] Tuesday
    [3] Wednesday
    [4] Thursday
    [5] Friday
    [6] Saturday
   *[7] Sunday
} to { $last ->
    [1] Monday
    [2] Tuesday
    [3] Wednesday
    [4] Thursday
    [5] Friday
    [6] Saturday
   *[7] Sunday
}
schedule-days = { $count ->
    [one] on day { $days } of the month
   *[other] on days { $days } of the month
}
schedule-day-span = on days { $first } to { $last } of the month
schedule-last-day = on the last day of the month
schedule-last-workday = on the last working day of the month
schedule-nearest-workday = on the working day nearest to day { $day } of the month
schedule-nth = on the { $nth ->
    [1] first
    [2] second
    [3] third
    [4] fourth
   *[5] fifth
} { $day ->
    [1] Monday
    [2] Tuesday
    [3] Wednesday
    [4] Thursday
    [5] Friday
    [6] Saturday
   *[7] Sunday
} of the month
schedule-last-of = on the last { $day ->
    [1] Monday
    [2] Tuesday
    [3] Wednesday
    [4] Thursday
    [5] Friday
    [6] Saturday
   *[7] Sunday
} of the month
schedule-date = on { $day } { $month ->
    [1] January
    [2] February
    [3] March
    [4] April
    [5] May
    [6] June
    [7] July
    [8] August
    [9] September
    [10] October
    [11] November
   *[12] December
}
schedule-month = { $month ->
    [1] January
    [2] February
    [3] March
    [4] April
    [5] May
    [6] June
    [7] July
    [8] August
    [9] September
    [10] October
    [11] November
   *[12] December
}
schedule-in-months = { $first ->
   *[other] { $when } in { $months }
}
schedule-months = { $when } from { $first ->
    [1] January
    [2] February
    [3] March
    [4] April
    [5] May
    [6] June
    [7] July
    [8] August
    [9] September
    [10] October
    [11] November
   *[12] December
} to { $last ->
    [1] January
    [2] February
    [3] March
    [4] April
    [5] May
    [6] June
    [7] July
    [8] August
    [9] September
    [10] October
    [11] November
   *[12] December
}
schedule-in-year = { $when } in { $year }
