# Co w każdej minucie uruchamia zadania.
pulse-running = puls pracuje ({ $time })
pulse-failed = puls się nie powiódł: { $reason }
pulse-another = inny puls wykonuje pracę tej minuty
pulse-not-well = nieudane przebiegi w tym pulsie: { $failed }; błędy własne: { $errors ->
    [none] brak
   *[other] { $errors }
}
pulse-numbers = do uruchomienia { $due }, uruchomione { $executed }, udane { $succeeded }, nieudane { $failed }, pominięte { $skipped }
pulse-health = { $health ->
    [HEALTHY] puls jest zdrowy
    [FAILING] puls zawodzi
    [SILENT] puls milczy
   *[UNKNOWN] puls jeszcze nie działał
}
pulse-last = ostatnio { $time }: { $numbers }
pulse-rate = udało się { $rate } % ostatnich pulsów ({ $pulses }); średnio { $average }, najdłużej { $slowest }
pulse-streak = { $task }: nieudane przebiegi z rzędu: { $streak }
